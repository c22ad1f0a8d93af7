"""`assert_mixer`: vitprof's mixers pass, and each kind of wrong formula is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from spellings import MIXER_SIZES
from torch import Tensor as TorchTensor
from torch import nn

from vitprof.cli import run
from vitprof.errors import FormulaError, SpecError
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.mixers.gmlp import GatedMlp
from vitprof.formulas.mixers.hydra import Hydra
from vitprof.formulas.models.encoder_layer import EncoderLayer
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.testing import assert_mixer
from vitprof.values.size import Size


# tests/captured compares the counts of all, tests/allocation the memory.
@pytest.mark.parametrize("name", list(MIXERS)[1::6])
def test_our_mixers_are_their_modules(name: str) -> None:
    own = MIXERS[name].declared()
    options = {option: size for option, size in MIXER_SIZES.items() if option in own}
    assert_mixer(MIXERS[name], options=options, sizes=[{"tokens": 9, "dim": 12, "heads": 3}])


def failure(mixer: Any, **how: Any) -> str:
    with pytest.raises(AssertionError) as failed:
        assert_mixer(mixer, **how)
    return str(failed.value)


# Wrong formulas that are counted without an error


class Wrong(Hydra):
    """Hydra's module with a formula that is wrong in one line."""


@dataclass(frozen=True, kw_only=True)
class WrongPath(Wrong):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        D = sizes.dim
        q, k, v = run.linear("in_proj", x, 3 * D).split((D, D, D), -1)
        total = run.sum("sum", run.multiply("key_values", run.l2_norm("k", k), v), 1, keepdim=True)
        y = run.multiply("output", run.l2_norm("q", q), total)
        return run.linear("fc_out", y, D)


@dataclass(frozen=True, kw_only=True)
class MissingProjection(Wrong):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        D = sizes.dim
        q, k, v = run.linear("qkv", x, 3 * D).split((D, D, D), -1)
        total = run.sum("sum", run.multiply("key_values", run.l2_norm("k", k), v), 1, keepdim=True)
        return run.multiply("output", run.l2_norm("q", q), total)


@dataclass(frozen=True, kw_only=True)
class MissingBias(Wrong):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        D = sizes.dim
        q, k, v = run.linear("qkv", x, 3 * D).split((D, D, D), -1)
        total = run.sum("sum", run.multiply("key_values", run.l2_norm("k", k), v), 1, keepdim=True)
        y = run.multiply("output", run.l2_norm("q", q), total)
        return run.linear("fc_out", y, D, bias=False)


@dataclass(frozen=True, kw_only=True)
class MissingMultiply(Wrong):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        D = sizes.dim
        q, k, v = run.linear("qkv", x, 3 * D).split((D, D, D), -1)
        run.l2_norm("k", k)
        total = run.sum("sum", v, 1, keepdim=True)
        y = run.multiply("output", run.l2_norm("q", q), total)
        return run.linear("fc_out", y, D)


@dataclass(frozen=True, kw_only=True)
class ProductOfTokens(Wrong):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        D = sizes.dim
        q, k, v = run.linear("qkv", x, 3 * D).split((D, D, D), -1)
        y = run.matmul("output", run.matmul("scores", q, k.mT), v)
        return run.linear("fc_out", y, D)


class Gram(nn.Module):
    """Module that mixes tokens by products outside of submodules."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()

    def forward(self, x: TorchTensor) -> TorchTensor:
        return x @ x.mT @ x


@dataclass(frozen=True, kw_only=True)
class HiddenProduct(Mixer):
    name = "gram"
    summary = source = "for a test"
    module = "test_assert_mixer:Gram"

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return run.scale("scale", x)


@pytest.mark.parametrize(
    ("mixer", "sentence"),
    [
        (WrongPath, "qkv: the formula has nothing and the module Linear"),
        (MissingProjection, "fc_out: the formula has nothing and the module Linear"),
        (MissingBias, "fc_out: the formula has in × out = 144 parameters and the module 156"),
        (MissingMultiply, "mixer.sum: after allocation"),
        (ProductOfTokens, "scores: the formula has MatMul and the module nothing"),
        (
            HiddenProduct,
            "the mixer itself: the formula has 0 MACs in all and PyTorch's counter 1,944",
        ),
    ],
)
def test_the_sentence_names_the_op(mixer: type[Mixer], sentence: str) -> None:
    assert EncoderLayer(mixer=mixer(), dim=12, heads=3).formula()
    said = failure(mixer)
    assert sentence in said
    assert said.startswith(f"{mixer.name} at tokens 9, dim 12, heads 3")


def test_order_of_two_ops_is_noticed() -> None:
    """Swap the norms of queries and keys, which changes no count."""

    @dataclass(frozen=True, kw_only=True)
    class Late(Wrong):
        def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
            D = sizes.dim
            q, k, v = run.linear("qkv", x, 3 * D).split((D, D, D), -1)
            products = run.multiply("key_values", run.l2_norm("key_norm", k), v)
            total = run.sum("sum", products, 1, keepdim=True)
            y = run.multiply("output", run.l2_norm("query_norm", q), total)
            return run.linear("fc_out", y, D)

    assert "after allocation" in failure(Late)


def test_a_reference_that_the_module_is_not() -> None:
    def doubled(module: Any, x: TorchTensor) -> TorchTensor:
        y: TorchTensor = 2 * module(x)
        return y

    assert "the module is not its reference" in failure(Hydra, reference=doubled)
    assert_mixer(Hydra, reference=lambda module, x: module(x))


def test_sizes_at_which_there_is_none() -> None:
    with pytest.raises(SpecError, match="mixes neighbours on a grid"):
        assert_mixer(MIXERS["pool"], sizes=[{"tokens": 7, "dim": 6, "heads": 1}])
    assert_mixer(MIXERS["pool"](), sizes=[{"tokens": 9, "dim": 6, "heads": 1}])


# Wrong formulas that raise when they are counted


class Misspelled(GatedMlp):
    """Formula that the tensors of formulas refuse."""


@dataclass(frozen=True, kw_only=True)
class UnknownWork(Misspelled):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return run.sofmax("weights", x, -1)  # type: ignore[attr-defined, no-any-return]


@dataclass(frozen=True, kw_only=True)
class UnknownActivation(Misspelled):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return run.activation("act", "gellu", x)


@dataclass(frozen=True, kw_only=True)
class InnerWidth(Misspelled):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        k = run.linear("k", x, Size(5, "k"))
        return run.matmul("output", run.matmul("scores", x, k.mT), x)


@dataclass(frozen=True, kw_only=True)
class LeadAxis(Misspelled):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        heads = x.reshape(x.shape[0], sizes.tokens, sizes.heads, sizes.head_dim).transpose(1, 2)
        return run.matmul("scores", heads, x.mT)


@dataclass(frozen=True, kw_only=True)
class OutputShape(Misspelled):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return run.linear("fc_out", x, 2 * sizes.dim)


@dataclass(frozen=True, kw_only=True)
class OtherSize(Misspelled):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return x.reshape(x.shape[0], sizes.tokens, sizes.heads, sizes.dim)


@dataclass(frozen=True, kw_only=True)
class Sum(Misspelled):
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return run.add("sum", x, run.linear("fc", x, 2 * sizes.dim))


REFUSED = {
    UnknownWork: "mixer gmlp: there is no op 'sofmax', the nearest is softmax; docs/mixers.md",
    UnknownActivation: "mixer gmlp, op act: there is no activation 'gellu', the nearest is gelu;",
    InnerWidth: (
        "scores of mixer gmlp multiplies (B 2, N 9, D 12) by (B 2, k 5, N 9): the left has D 12 "
        "columns and the right k 5 rows, which have to be equal"
    ),
    LeadAxis: (
        "scores of mixer gmlp multiplies (B 2, heads 3, N 9, head dim 4) by (B 2, D 12, N 9): "
        "the left has head dim 4 columns and the right D 12 rows, which have to be equal"
    ),
    OutputShape: (
        "forward of mixer gmlp makes (B 2, N 9, 2 × D 24) of (B 2, N 9, D 12); it has to return "
        "the shape that it is given"
    ),
    OtherSize: (
        "mixer gmlp cannot reshape to (B 2, N 9, heads 3, D 12): (B 2, N 9, D 12) has another "
        "number of elements"
    ),
    Sum: "sum of mixer gmlp joins (B 2, N 9, D 12) and (B 2, N 9, 2 × D 24), whose sizes D 12",
}


@pytest.mark.parametrize("mixer", REFUSED, ids=lambda mixer: mixer.__name__)
def test_refused_when_it_is_counted(mixer: type[Misspelled]) -> None:
    layer = EncoderLayer(mixer=mixer(), tokens=9, dim=12, heads=3)
    for count in (layer.formula, layer.program):
        with pytest.raises(FormulaError) as refused:
            count(2)
        assert str(refused.value).startswith(REFUSED[mixer])
    assert REFUSED[mixer].partition(":")[0].split(" (")[0].split(" multiplies")[0] in failure(mixer)


def test_a_refusal_is_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MIXERS, "gmlp", InnerWidth)
    for command in ("params", "macs", "memory"):
        assert run([command, "--model=layer", "--mixer=gmlp", "--gate-ratio=2"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("vitprof: scores of mixer gmlp multiplies (")
        assert err.count("\n") == 1
