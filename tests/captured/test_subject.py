"""Modules as subjects: batches, image sizes and tokens at which their formulas hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import vitprof
from vitprof.captured.given import Given
from vitprof.captured.subject import CapturedModel
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.op import Op
from vitprof.request.workload import Workload
from vitprof.sweeps.crossover import find
from vitprof.sweeps.memory import largest_traced, peak

ANALYTIC = ["analytic"]


class Scan(nn.Module):
    """Residual layer as many times as there are images."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(x.shape[0]):
            x = x + self.layer(x)
        return x


class Pair(nn.Module):
    """Layer that takes two images and no other number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.view(2, 8))
        return y


def attention(dim: int = 8) -> nn.Module:
    """Return an attention layer, whose MACs are 4 N D² + 2 N² D."""
    return nn.TransformerEncoderLayer(dim, 2, 16, batch_first=True)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_without_closed_forms_each_batch_is_captured(batch: int) -> None:
    report = vitprof.macs(Scan(), (batch, 8), counters=ANALYTIC)
    assert report.total == batch * batch * 8 * 8
    assert report.module is not None
    assert report.module.fixed
    assert not any("B" in row.formula for row in report.rows)


def test_a_batch_that_a_module_does_not_take() -> None:
    assert vitprof.macs(Pair(), (2, 8), counters=ANALYTIC).total == 2 * 8 * 4
    with pytest.raises(SpecError, match="Pair runs at batch 2 but not at 3; give 2"):
        vitprof.macs(Pair(), (2, 8), batch=3, counters=ANALYTIC)


def test_tokens_are_swept_without_another_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    model = CapturedModel(Given(attention(), (1, 10, 8)))
    (tokens,) = model.options().values()
    assert tokens.unit == "tokens"  # type: ignore[union-attr]
    for number in (1, 10, 333):
        tree = model.at({"tokens": number}).formula(3)
        # Query, key, value and output; scores and sum; the two layers of the MLP.
        of_one = number * 8 * 8 * 4 + 2 * number * number * 8 + number * 8 * 16 * 2
        assert tree.total(Measure.MACS) == 3 * of_one
    (variable,) = model.template.variables
    assert (variable.name, variable.value, abs(variable.step)) == ("N", 10, 1)
    monkeypatch.setattr("vitprof.captured.probe.capture", None)
    assert model.at({"tokens": 77}).formula(2).total(Measure.MACS) > 0


def test_formulas_are_refused_between_their_steps() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 32, stride=32), nn.Flatten(2))
    model = CapturedModel(Given(module, (1, 3, 64, 64)))
    assert [one.step for one in model.template.variables] == [32, 32]
    assert model.at({"image_size": 128}).formula().total(Measure.MACS) == 4 * 4 * 32 * 32 * 3 * 4
    with pytest.raises(SpecError, match="hold at H 64 and in steps of 32 from there, not at 70"):
        model.at({"image_size": 70})
    assert model.at({"width": 3}).formula().total(Measure.MACS) == 2 * 2 * 32 * 32 * 3 * 4


def test_names_are_those_of_the_legend() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 16, stride=16), nn.Flatten(2), nn.Linear(16, 5))
    report = vitprof.macs(module, (1, 3, 64, 64), counters=ANALYTIC)
    assert report.module is not None
    assert report.module.names == {}  # a linear layer over positions fixes the size
    assert report.module.lines()["where"].endswith("for inputs of this size alone")
    rows = [
        node.item
        for node in CapturedModel(Given(module, (1, 3, 64, 64))).formula().walk(fold=True)
        if isinstance(node.item, Op) and node.item.contracts
    ]
    assert [row.macs.formula for row in rows] == [
        "B × 4 × 4 × (16 × 16 × 3) × out",
        "B × 8 × in × out",
    ]


def test_crossovers_of_modules() -> None:
    """A wide layer on tokens, D² a token, against attention between tokens, N D a token."""
    attends = CapturedModel(Given(attention(), (1, 10, 8)))
    mixes = CapturedModel(Given(nn.Linear(8, 8 * 20), (1, 10, 8)))
    found = find(mixes, attends, Workload(), option="tokens", last=200, measures=["macs"])
    # 8 · 160 N < 512 N + 16 N² from 48 · 16 = 768 on: at 49 tokens.
    (stretch,) = found["macs"].cheaper
    assert (stretch.first, stretch.last) == (49, 200)
    assert "memory" not in find(mixes, attends, Workload(), option="tokens", last=20)


def test_memory_follows_the_loss() -> None:
    """The square of the output is saved, and the mean of it is not."""
    model = CapturedModel(Given(nn.Linear(8, 8), (4, 8)))
    squared = replace(model, loss=lambda y: y.square().sum())
    step = Workload(batch=1024, device="cpu")
    assert peak(squared, step) > peak(model, step)


def test_a_given_module_needs_no_name_but_for_trials() -> None:
    with pytest.raises(SpecError, match="has no name by which another process can build it"):
        vitprof.batch_size(nn.Linear(8, 8), (1, 8), device="cpu", limit="1GiB", start=1)


@pytest.mark.parametrize(
    ("need", "budget", "most", "expected"),
    [
        (lambda batch: 10 * batch, 1000, 10**9, 100),
        (lambda batch: 10 * batch, 1000, 60, 60),
        (lambda batch: 10 * batch, 9, 10**9, 0),
        (lambda batch: 500 + 7 * batch + batch % 3, 1000, 10**9, 71),
        (lambda batch: batch**2, 1000, 10**9, 31),
    ],
)
def test_largest_batch_by_few_traces(need: object, budget: int, most: int, expected: int) -> None:
    asked: list[int] = []

    def counted(batch: int) -> int:
        asked.append(batch)
        return need(batch)  # type: ignore[operator,no-any-return]

    assert largest_traced(counted, budget, most) == expected
    assert len(asked) <= 12


def test_inputs_are_zeros_of_their_dtype() -> None:
    model = CapturedModel(Given(nn.Embedding(10, 4), torch.zeros(2, 3, dtype=torch.int64)))
    (tokens,) = model.inputs(5, device="cpu", dtype=torch.bfloat16)
    assert (tokens.shape, tokens.dtype) == ((5, 3), torch.int64)
    assert model.keywords(5, device="cpu", dtype=torch.float32) == {}


class Masked(nn.Module):
    """Patches that are masked where there is more than one window of 4 × 4 of them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.layer = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).mT
        if tokens.shape[1] > 16:
            tokens = tokens * 0.5
        y: Tensor = self.layer(tokens)
        return y


def test_what_no_tool_counts_may_come_and_go_with_the_size() -> None:
    """At 32 × 32 there are 16 patches; a larger image has a mask more, and the same formulas."""
    report = vitprof.macs(Masked(), (2, 3, 32, 32), counters=ANALYTIC)
    assert report.module is not None
    assert not report.module.whole
    assert "what is not counted" in report.module.lines()["where"]
    assert "multiply" not in report.not_counted
    model = CapturedModel(Given(Masked(), (2, 3, 32, 32)))
    for side in (32, 64, 96):
        patches = (side // 8) ** 2
        counted = model.at({"image_size": side}).formula(3).total(Measure.MACS)
        assert counted == 3 * patches * (8 * 8 * 3 * 8 + 8 * 5)
        again = vitprof.macs(Masked(), (3, 3, side, side), counters=ANALYTIC)
        assert counted == again.total


def test_a_given_module_is_built_for_real_with_zeros() -> None:
    module = nn.Linear(3, 4)
    built = CapturedModel(Given(module, (2, 3))).build(device="cpu", dtype=torch.float32)
    assert [one.shape for one in built.parameters()] == [(4, 3), (4,)]
    assert all(not one.any() and not one.is_meta for one in built.parameters())
    assert module.weight.any()


def test_sizes_are_read_from_words_as_from_numbers() -> None:
    """The command line gives words."""
    words = {"module": "torchvision:resnet18", "image_size": "96", "measures": ["macs"]}
    with pytest.raises(SpecError, match="nothing is swept"):
        vitprof.sweep(**words)  # type: ignore[arg-type]
    model = CapturedModel(Given(Masked(), (2, 3, 32, 32)))
    assert model.at({"image_size": "64"}).values() == {"image_size": 64}
    with pytest.raises(SpecError, match="image size x is not a whole number"):
        model.at({"image_size": "x"})


def test_a_module_where_a_model_or_a_workload_is_needed() -> None:
    module: object = nn.Linear(8, 8)
    with pytest.raises(SpecError, match="model a is of type Linear, not one made by specify"):
        vitprof.compare(models={"a": module, "b": module})  # type: ignore[dict-item]
    with pytest.raises(SpecError, match=r"a workload is a vitprof\.Workload, not of type tuple"):
        vitprof.sweep("layer", (1, 8), tokens=(4, 8))  # type: ignore[arg-type]
