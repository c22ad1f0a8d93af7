"""Assertions for a user's tests: they pass, or name the rows that differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vitprof
from vitprof.errors import SpecError
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.mixers.identity import Identity
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.request.specs import specify
from vitprof.testing import assert_macs, assert_mixer, assert_params

# One encoder layer of the default width 64, 4 heads of 16, MLP 256.
WEIGHTS = "64*192 + 64*64 + 64*256 + 256*64"
PARAMS = f"{WEIGHTS} + 192 + 64 + 256 + 64 + 2 * 2*64"
MACS = f"100*50*({WEIGHTS}) + 2 * 100*4*50*50*16"

Assert = Callable[..., None]
each = pytest.mark.parametrize("assertion", [assert_params, assert_macs])


def message(assertion: Assert, *given: object, **options: object) -> list[str]:
    """Return the lines of a failing assertion's message."""
    with pytest.raises(AssertionError) as failure:
        assertion(*given, **options)
    return [line.strip() for line in str(failure.value).splitlines()]


@pytest.mark.parametrize("expected", [49_984, PARAMS, {"all": 49_984, "norm1": "64 + 64"}])
def test_parameters_that_are_as_expected(expected: Any) -> None:
    assert_params("layer", expected)
    assert_params(specify("layer"), expected)


@pytest.mark.parametrize(
    "expected",
    [277_760_000, MACS, {"flops": f"2 * ({MACS})", "mixer.qkv": "100 × 50 × 64 × 192"}],
)
def test_macs_that_are_as_expected(expected: Any) -> None:
    assert_macs("layer", expected, batch=100, tokens=50)
    assert_macs(specify("layer", options={"tokens": 50}), expected, batch=100)


def test_mixer_and_options_are_those_of_the_model() -> None:
    qkv = 128 * (8 * 16 + 16 + 16) + (8 * 16 + 16 + 16)
    assert_params(
        "mae", {"blocks.11.mixer.qkv": qkv, "blocks.0-11.mixer.qkv": 12 * qkv}, mixer="lambda"
    )
    assert_params("layer", {"mlp.fc2": "21*7 + 7"}, dim=7, heads=1, mlp_ratio=3)
    assert_macs(
        "layer", {"mixer.attend": "2 * 3*5*5*15"}, batch=1, tokens=5, dim=45, heads=3, fused=True
    )


def test_batch_is_one_image_unless_given() -> None:
    assert_macs("layer", {"mlp.fc1": "50*64*256"}, tokens=50)


def test_a_failure_shows_the_row_that_differs_and_no_other() -> None:
    expected = {"norm1": 128, "mixer.qkv": "64*192", "mlp.fc2": "256*64 + 65"}
    assert message(assert_params, "layer", expected) == [
        "params mixer.qkv: expected 12,288, found 12,480 (+192); in × out + out = 64 × 192 + 192",
        "params mlp.fc2: expected 16,449, found 16,448 (−1); in × out + out = 256 × 64 + 64",
    ]


def test_a_failing_total_shows_every_row_that_it_adds_up() -> None:
    assert message(assert_macs, "layer", "277760000 + 5", batch=100, tokens=50) == [
        "macs macs: expected 277,760,005, found 277,760,000 (−5)",
        "the layers' counts:",
        "mixer.qkv: B × N × in × out = 100 × 50 × 64 × 192 = 61,440,000",
        "mixer.scores: B × heads × N × (head dim × N) = 100 × 4 × 50 × (16 × 50) = 16,000,000",
        "mixer.output: B × heads × N × (N × head dim) = 100 × 4 × 50 × (50 × 16) = 16,000,000",
        "mixer.fc_out: B × N × in × out = 100 × 50 × 64 × 64 = 20,480,000",
        "mlp.fc1: B × N × in × out = 100 × 50 × 64 × 256 = 81,920,000",
        "mlp.fc2: B × N × in × out = 100 × 50 × 256 × 64 = 81,920,000",
    ]


def test_equal_blocks_are_one_row_with_their_number() -> None:
    rows = message(assert_params, "classifier", 0)
    weight = "blocks.0-3.mlp.fc1: in × out + out = 64 × 256 + 256 = 16,640 (×4 = 66,560)"
    assert weight in rows
    assert rows[0].startswith("params all: expected 0, found ")
    assert "head: in × out + out = 64 × 10 + 10 = 650" in rows


class Unlike(Identity):
    """Identity whose formula has a layer that its module has not."""

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return run.linear("extra", x, sizes.dim)


def test_training_step() -> None:
    sizes: dict[str, Any] = {"batch": 100, "tokens": 50, "training": True}
    assert_macs("layer", "3 * 277760000", **sizes)
    assert_macs("layer", {"forward": 277_760_000, "mlp.fc2": "3*100*50*256*64"}, **sizes)
    assert_macs("layer", {"mlp.fc1": "4*100*50*64*256"}, checkpoint=True, **sizes)
    assert_macs(nn.Linear(64, 10), "2 * 32*64*10", inputs=(32, 64), training=True)
    assert message(assert_macs, "layer", {"mlp.fc2": 1}, **sizes) == [
        "training_macs mlp.fc2: expected 1, found 245,760,000 (+245,759,999); "
        "3 × (B × N × in × out) = 3 × (100 × 50 × 256 × 64)"
    ]
    with pytest.raises(SpecError, match="checkpoint has no effect with a forward pass alone"):
        assert_macs("layer", 1, checkpoint=True)


@pytest.mark.parametrize(
    ("assertion", "given"), [(assert_params, ("layer", 0)), (assert_macs, ("layer", 0))]
)
def test_pytest_shows_the_line_of_the_test(assertion: Assert, given: tuple[object, ...]) -> None:
    with pytest.raises(AssertionError) as failure:
        assertion(*given)
    assert [entry.path for entry in failure.traceback.filter(failure)] == [Path(__file__)]


def test_pytest_shows_the_line_of_a_test_of_a_mixer() -> None:
    with pytest.raises(AssertionError, match="extra") as failure:
        assert_mixer(Unlike)
    assert [entry.path for entry in failure.traceback.filter(failure)] == [Path(__file__)]
    assert failure.value.__cause__ is None


@each
@pytest.mark.parametrize(
    ("expected", "options", "sentence"),
    [
        (1, {"dims": 64}, "'dims'.*did you mean dim?"),
        (
            1,
            {"patch_size": 4},
            "patch size is an option of mae, classifier and pyramid",
        ),
        (1, {"key_depth": 4}, "key depth is an option of lambda, not of layer with attn"),
        (1, {"dim": 63}, "dim 63 is not divisible by 4 heads"),
        (1, {"mixer": "lamda"}, "'lamda'.*did you mean lambda"),
        ({"mixer.qvk": 1}, {}, "no total or layer 'mixer.qvk'.*did you mean mixer.qkv"),
        ("64 * x", {}, r"'64 \* x' is not a derivation"),
        ("1e3", {}, "'1e3' is not a derivation"),
        (1.0, {}, r"1\.0 is not a count"),
        (True, {}, "True is not a count"),
        ({"norm1": None}, {}, "None is not a count"),
    ],
)
def test_a_slip_is_an_error_and_no_failure(
    assertion: Assert, expected: object, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SpecError, match=sentence):
        assertion("layer", expected, **options)


@each
def test_a_model_that_there_is_not(assertion: Assert) -> None:
    with pytest.raises(SpecError, match=r"'layr'.*did you mean layer"):
        assertion("layr", 1)


@pytest.mark.parametrize("batch", [0, -1, True, 1.5])
def test_a_batch_that_is_none(batch: Any) -> None:
    with pytest.raises(SpecError, match=f"batch {batch} is"):
        assert_macs("layer", 1, batch=batch)


@pytest.mark.parametrize("model", ["mae", "classifier", "layer"])
def test_a_report_says_what_is_asserted(model: str) -> None:
    assert_params(model, vitprof.params(model, counters=["analytic"]).total)
    assert_macs(model, vitprof.macs(model, counters=["analytic"], batch=3).total, batch=3)


# Modules of any origin: 7 features, 11 wide, 3 outputs.


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(7, 11), nn.Linear(11, 3, bias=False))


@pytest.mark.parametrize("inputs", [(13, 7), torch.zeros(13, 7), {"input": (13, 7)}])
def test_a_module_as_it_is(inputs: Any) -> None:
    assert_params(net(), "7*11 + 11 + 11*3")
    assert_params(net(), {"0": "7*11 + 11", "all": 7 * 11 + 11 + 11 * 3}, inputs)
    assert_macs(net(), {"0": "13 * 7*11", "macs": "13 * (7*11 + 11*3)"}, inputs)
    assert_macs(net(), {"1": "5 * 11*3"}, inputs, batch=5)


def test_a_module_by_its_name() -> None:
    arguments = {"in_features": 7, "out_features": 11}
    reference: dict[str, Any] = {"module": "torch.nn:Linear", "arg": arguments}
    assert_params(None, "7*11 + 11", **reference)
    assert_macs(None, "5 * 7*11", **reference, input="7", batch=5)


def test_a_module_that_differs() -> None:
    assert message(assert_macs, net(), {"1": "11*4"}, (13, 7)) == [
        "macs 1: expected 44, found 429 (+385); B × in × out = 13 × 11 × 3"
    ]
    assert message(assert_params, net(), 7 * 11) == [
        "params all: expected 77, found 121 (+44)",
        "the layers' counts:",
        "0: in × out + out = 7 × 11 + 11 = 88",
        "1: in × out = 11 × 3 = 33",
    ]


def test_a_module_without_inputs_multiplies_nothing() -> None:
    with pytest.raises(SpecError, match="no input is given; give a tensor, a shape such as"):
        assert_macs(net(), 1)
    with pytest.raises(SpecError, match="inputs is of a module"):
        assert_macs("layer", 1, (13, 7))
