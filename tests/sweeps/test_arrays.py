"""Formulas on arrays of configurations, against the formulas on plain numbers."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from spellings import SOME, Spelling

from vitprof import specify
from vitprof.errors import SpecError
from vitprof.formulas.layer import OF_FORWARD, Measure
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.formulas.models.encoder_layer import EncoderLayer
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.sweeps.arrays import counts
from vitprof.sweeps.points import options_of, places, read_axes
from vitprof.values.options import Ratio, Whole, whole
from vitprof.values.size import Size


def test_no_such_option_in_python() -> None:
    with pytest.raises(SpecError, match="no option to sweep named 'depht'; did you mean depth"):
        counts(specify("mae"), {"depht": [1, 2]}, Measure.MACS)
    with pytest.raises(SpecError, match="the range of depth is empty"):
        counts(specify("mae"), {"depth": []}, Measure.MACS)
    with pytest.raises(SpecError, match="positions is not a number"):
        counts(specify("layer", mixer="lambda"), {"positions": ["local"]}, Measure.MACS)


def test_counts_by_hand() -> None:
    found = counts(
        specify("layer", options={"heads": 2}), {"tokens": [3, 9], "dim": [2, 3, 6]}, Measure.MACS
    )
    assert found.dtype == np.int64
    # 4 D² of the mixer's layers, 2 N D of its products and 8 D² of the MLP, for each token;
    # a dim of 3 has no 2 heads.
    assert found.tolist() == [
        [3 * (12 * 2**2 + 2 * 3 * 2), None, 3 * (12 * 6**2 + 2 * 3 * 6)],
        [9 * (12 * 2**2 + 2 * 9 * 2), None, 9 * (12 * 6**2 + 2 * 9 * 6)],
    ]


def test_squares_and_others() -> None:
    model = specify("layer", mixer="pool", options={"tokens": 4, "dim": 4})
    mlp = 8 * 4**2
    axes = {"tokens": [4, 5, 9], "batch": [1, 2]}
    assert counts(model, axes, Measure.MACS).tolist() == [
        [4 * mlp, 2 * 4 * mlp],
        [None, None],
        [9 * mlp, 2 * 9 * mlp],
    ]


def alone(spelling: Spelling, axes: Mapping[str, object], measure: Measure) -> list[int | None]:
    """Counts at every place by single evaluations of the formula; None if it is not defined."""
    model = spelling.specify()
    found: list[int | None] = []
    for place in places(read_axes([model], axes)):
        try:
            here = model.at(place)
        except SpecError:
            found.append(None)
        else:
            found.append(here.formula(int(place.get("batch", 1))).total(measure))
    return found


def some_axes(spelling: Spelling, choose: random.Random) -> dict[str, object]:
    """Draw three numeric options with a few values each, the default and the minimum included."""
    model = spelling.specify()
    numbers = {
        name: option
        for name, option in options_of(model).items()
        if isinstance(option, (Whole, Ratio))
    }
    usual: dict[str, Any] = {**model.values(), **model.mixer.values(), "batch": 1}
    axes: dict[str, object] = {}
    for name in choose.sample(sorted(numbers), 3):
        option, value = numbers[name], usual[name]
        if isinstance(option, Whole):
            several = {option.minimum, value, value + 1, 2 * value, 16}
            values = [one for one in several if not option.odd or one % 2]
            axes[name] = sorted(one for one in values if one >= option.minimum)
        else:
            axes[name] = ["0.3", "0.5", "0.75"] if option.below == 1 else ["0.75", "1.5", "4"]
    return axes


@pytest.mark.parametrize("spelling", SOME[::2], ids=str)
def test_arrays_equal_plain_numbers(spelling: Spelling) -> None:
    choose = random.Random(str(spelling))
    for measure in OF_FORWARD:
        axes = some_axes(spelling, choose)
        found = counts(spelling.specify(), axes, measure)
        assert found.ravel().tolist() == alone(spelling, axes, measure), axes


def test_million_configurations() -> None:
    model = specify("layer", mixer="lambda", options={"heads": 4})
    axes = {"tokens": range(1, 1001), "dim": range(6, 2006, 2)}
    tracemalloc.start()
    try:
        found = counts(model, axes, Measure.MACS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.shape == (1000, 1000)
    assert peak < 200e6
    assert found.mask.sum() == 1000 * 500  # every other dim is not divisible by 4
    choose = random.Random(6)
    for _ in range(100):
        row, column = choose.randrange(1000), choose.randrange(1, 1000, 2)
        place = {"tokens": axes["tokens"][row], "dim": axes["dim"][column]}
        assert found[row, column] == model.at(place).formula().total(Measure.MACS)


def test_counts_beyond_64_bits() -> None:
    model = specify("layer", mixer="identity", options={"heads": 1, "tokens": 10_000_000})
    found = counts(model, {"dim": [1, 1_000_000], "batch": [1, 1_000_000_000]}, Measure.MACS)
    mlp = 2 * 4 * 10_000_000  # D -> 4 D -> D for each token
    assert found.dtype == object
    assert found.tolist() == [[mlp, mlp * 10**9], [mlp * 10**12, mlp * 10**12 * 10**9]]
    assert mlp * 10**21 > 2**63
    assert all(type(count) is int for count in found.ravel().tolist())
    assert counts(model, {"dim": [1, 1_000_000]}, Measure.PARAMS).dtype == np.int64


@dataclass(frozen=True, kw_only=True)
class Branching(Mixer):
    """A mixer whose formula branches on its option, directly and after an isinstance test."""

    name = "branching"
    summary = "for a test"
    source = "none"
    module = "nowhere:Branching"

    width: int = whole(7, minimum=2, help="asked whether it is more than 3")
    secret: int = whole(5, minimum=2, help="9 stands for another number")

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        width = 2 * self.width if self.width > 3 else self.width
        secret = 100 if isinstance(self.secret, int) and self.secret == 9 else self.secret
        run.parameter("table", Size(width), Size(secret))
        return x


def test_formulas_that_branch() -> None:
    model = EncoderLayer(mixer=Branching(), tokens=1, dim=4, heads=1)
    rest = EncoderLayer(mixer=MIXERS["identity"](), dim=4, heads=1).formula().total(Measure.PARAMS)
    axes = {"width": [2, 3, 4, 5], "secret": [6, 7, 9], "tokens": [1, 2, 3]}
    found = counts(model, axes, Measure.PARAMS)
    widths, secrets = {2: 2, 3: 3, 4: 8, 5: 10}, {6: 6, 7: 7, 9: 100}
    assert found[:, :, 2].tolist() == [
        [rest + widths[width] * secrets[secret] for secret in secrets] for width in widths
    ]


def test_models_are_all_tried() -> None:
    assert {spelling.model for spelling in SOME[::2]} == {*MODELS}
