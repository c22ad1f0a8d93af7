"""vitprof's own models, captured as any module: equal to their formulas at every path."""

from __future__ import annotations

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
USUAL = [spelling for spelling in SPELLINGS if not spelling.variant]
OTHERS = [one for one in SPELLINGS if one.variant and one.model == "layer"]


def test_every_mixer_is_captured_in_every_model() -> None:
    pairs = {(spelling.model, spelling.mixer) for spelling in USUAL}
    assert {mixer for model, mixer in pairs if model == "layer"} == {*MIXERS}
    assert {mixer for model, mixer in pairs if model == "classifier"} == {*MIXERS}
    on_grid = {name for name, mixer in MIXERS.items() if mixer().needs_grid}
    assert {mixer for model, mixer in pairs if model == "mae"} == {*MIXERS} - on_grid
    assert {model for model, _ in pairs} == {*MODELS}


@pytest.mark.parametrize("spelling", [*USUAL, *OTHERS], ids=str)
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
