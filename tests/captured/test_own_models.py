"""vitprof's own models, captured as any module: equal to their formulas at every path."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from captures import by_path, captured
from spellings import SPELLINGS, Spelling

from vitprof.captured.given import Given
from vitprof.captured.parameters import parameters
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.modules.build import build

BATCH = 3
# Each mixer, and every other one of their options.
IN_LAYERS = [
    spelling
    for place, spelling in enumerate(one for one in SPELLINGS if one.model == "layer")
    if not spelling.variant or place % 2
]


def in_turn() -> Iterator[Spelling]:
    """Yield each mixer in one of the other models."""
    for turn, mixer in enumerate(MIXERS):
        others = [one for one in SPELLINGS if one.mixer == mixer and one.model != "layer"]
        usual = [one for one in others if not one.variant]
        yield usual[turn % len(usual)]


IN_MODELS = list(in_turn())


def test_every_mixer_is_captured_and_every_model() -> None:
    assert {spelling.mixer for spelling in IN_LAYERS} == {*MIXERS}
    assert {spelling.mixer for spelling in IN_MODELS} == {*MIXERS}
    assert {spelling.model for spelling in IN_MODELS} == {*MODELS} - {"layer"}


@pytest.mark.parametrize("spelling", [*IN_LAYERS, *IN_MODELS], ids=str)
def test_a_capture_is_the_formula(spelling: Spelling) -> None:
    model = spelling.specify()
    module = build(model, device="meta")
    tree = captured(Given(module, model.input_shape(BATCH)), BATCH)
    formula = model.formula(BATCH)
    assert tree.total(Measure.MACS) == formula.total(Measure.MACS)
    assert by_path(tree, Measure.MACS) == by_path(formula, Measure.MACS)
    assert all(kernel.startswith("aten::_fft_") for kernel in tree.unknown())
    held = by_path(parameters(module), Measure.PARAMS)
    on_paper = by_path(model.formula(), Measure.PARAMS)
    assert held[""] == on_paper[""]
    assert {path: held.get(path, 0) for path in on_paper} == on_paper
