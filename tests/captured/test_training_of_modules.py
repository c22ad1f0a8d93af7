"""MACs of a training step of modules of others, by hand and beside PyTorch's counter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import vitprof
from vitprof.errors import SpecError
from vitprof.formulas.op import Pass
from vitprof.report.counts import Counts


def trained(module: nn.Module, shape: tuple[int, ...], **options: Any) -> Counts:
    report = vitprof.macs(module, shape, training=True, **options)
    assert report.explained, report.differences
    assert report.module is not None
    assert report.module.unknown == {}
    return report


def parts(report: Counts) -> dict[str, list[int]]:
    return {row.path: [row.parts[part.value] for part in Pass] for row in report.rows}


class Frozen(nn.Module):
    """A frozen layer, one that no loss depends on, a trained one, and one behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.unused = nn.Linear(8, 16), nn.Linear(8, 100)
        self.trained, self.behind = nn.Linear(16, 12), nn.Linear(12, 4)
        self.frozen.requires_grad_(False)
        self.behind.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        self.unused(x)
        y: Tensor = self.behind(F.gelu(self.trained(F.gelu(self.frozen(x)))))
        return y


def test_what_is_frozen_or_unused_takes_no_gradient() -> None:
    n = 2 * 5
    assert parts(trained(Frozen(), (2, 5, 8))) == {
        "unused.linear": [n * 8 * 100, 0, 0, 0],
        "frozen": [n * 8 * 16, 0, 0, 0],
        "trained": [n * 16 * 12, 0, n * 16 * 12, 0],  # what is before it wants none
        "behind": [n * 12 * 4, n * 12 * 4, 0, 0],
    }


def test_formulas_hold_for_any_batch_and_length() -> None:
    report = trained(nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4)), (2, 5, 8), batch=7)
    assert [row.formula for row in report.rows] == [
        "2 × (B × N × in × out)",
        "3 × (B × N × in × out)",
    ]
    assert report.total == 2 * 7 * 5 * 8 * 16 + 3 * 7 * 5 * 16 * 4


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(F.relu(self.layer(x)))
        return y


def test_a_layer_that_is_called_twice() -> None:
    n = 3 * 5 * 64
    assert parts(trained(Tied(), (3, 5, 8))) == {
        "layer.linear": [n, 0, n, 0],
        "layer.linear_2": [n, n, n, 0],
    }


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_convolutions_and_attention(device: str) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
            self.mix = nn.Parameter(torch.randn(16, 16))
            self.conv = nn.Conv1d(16, 32, 3, groups=4, padding=1)
            self.up = nn.ConvTranspose1d(32, 16, 2, stride=2, groups=2)

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.attention(x, x, x, need_weights=False)[0]
            y: Tensor = self.up(self.conv(torch.einsum("bnd,de->ben", x, self.mix)))
            return y

    B, N = 3, 6
    report = trained(Mixed(), (B, N, 16), device=device)
    scores, conv, up = B * N * N * 16, B * N * 3 * 4 * 32, B * N * 2 * 8 * 32
    found = parts(report)
    assert found["attention.linear"] == [B * N * 16 * 48, 0, B * N * 16 * 48, 0]
    assert found["attention.scaled_dot_product_attention"] == [2 * scores, 4 * scores, 0, scores]
    assert found["einsum"] == [B * N * 256, B * N * 256, B * N * 256, 0]
    assert found["conv"] == [conv, conv, conv, 0]
    assert found["up.conv_transpose1d"] == [up, up, up, 0]
    causes = {cause.cause: cause.amount for cause in report.differences["torch"].causes}
    assert causes == {
        "gradients of the weights of grouped convolutions counted as dense": 3 * conv + up,
        **(
            {"the meta device takes fused attention apart and keeps its scores": -scores}
            if device == "meta"
            else {"the fused kernel of this device is not registered": -7 * scores}
        ),
    }


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(8, 32), nn.Linear(32, 8)
        self.last = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.narrow(F.gelu(self.wide(x))) @ self.last
        return y


class Blocks(nn.Module):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.reentrant, self.checkpoints = reentrant, False

    def set_grad_checkpointing(self, enable: bool) -> None:
        self.checkpoints = enable

    def again(self, block: nn.Module, x: Tensor) -> Tensor:
        y: Tensor = checkpoint(block, x, use_reentrant=self.reentrant)
        return y

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = self.again(block, x) if self.checkpoints else block(x)
        return x


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_by_its_own_switch(reentrant: bool) -> None:
    report = trained(Blocks(reentrant=reentrant), (2, 5, 8), checkpoint=True)
    wide, last = 2 * 5 * 8 * 32, 2 * 5 * 8 * 8
    # The reentrant one repeats all; the other stops before the product that nothing behind saves.
    again = 3 * (2 * wide + last * reentrant)
    assert report.totals["recomputed"] == again
    plain = trained(Blocks(reentrant=reentrant), (2, 5, 8))
    assert report.total == plain.total + again
    assert sum(found[0] for path, found in parts(plain).items()) == plain.totals["forward"]


class Product(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, w: Tensor) -> Tensor:
        context.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        x, w = context.saved_tensors
        once = gradients[0] @ w.mT
        return once @ torch.eye(8), x.flatten(0, 1).mT @ gradients[0].flatten(0, 1)


def test_a_backward_pass_of_its_own_is_seen() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.weight = nn.Linear(8, 8), nn.Parameter(torch.randn(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = Product.apply(self.first(x), self.weight)  # type: ignore[no-untyped-call]
            return y

    n = 2 * 5 * 64
    report = trained(Own(), (2, 5, 8))
    assert report.total == 2 * n + n + 3 * n  # its gradient by input takes two products


def test_a_loss_of_its_own() -> None:
    class Contrast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> tuple[Tensor]:
            y = self.project(x)
            return (F.cross_entropy(y @ y.mT, torch.zeros(len(y), dtype=torch.int64)),)

    found = parts(trained(Contrast(), (6, 8)))
    assert found["matmul"] == [6 * 4 * 6, 2 * 6 * 4 * 6, 0, 0]


def test_a_loss_that_is_given() -> None:
    def contrast(y: Tensor) -> Tensor:
        return F.cross_entropy(y @ y.mT, torch.arange(6))

    report = trained(nn.Linear(8, 4), (6, 8), loss=contrast)
    assert report.rows[-1].parts == {
        "forward": 6 * 4 * 6,
        "backward_by_input": 2 * 6 * 4 * 6,
        "backward_by_weight": 0,
        "recomputed": 0,
    }
    half = trained(nn.Linear(8, 4), (6, 8), loss=lambda y: y.detach().sum() + y.sum())
    assert half.total == 2 * 6 * 8 * 4


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((nn.Linear(8, 4), (6, 8)), "loss has no effect with a forward pass alone"),
        (("layer",), "loss has no effect with a forward pass alone"),
    ],
)
def test_a_loss_of_no_step(given: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        vitprof.macs(*given, loss=torch.sum)
    with pytest.raises(SpecError, match="loss is that of a module"):
        vitprof.macs("layer", training=True, loss=torch.sum)


def test_recurrent_layers_are_read_on_the_cpu() -> None:
    report = trained(nn.LSTM(8, 16, batch_first=True), (2, 5, 8))
    cells = 2 * 5 * (64 * 8 + 64 * 16)
    assert [*parts(report).values()] == [[cells, cells, cells, 0]]
    assert report.notes["torch"].startswith("executed on the CPU, since it has recurrent layers")


def test_a_step_that_needs_data_is_read_on_the_cpu() -> None:
    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(x * 2 if x.sum() > 3 else x)
            return y

    report = trained(Decides(), (2, 8))
    assert report.notes["torch"].startswith("executed on the CPU, since it raises")
    assert report.total == 2 * 2 * 64


def test_kernels_without_a_rule_are_named() -> None:
    report = vitprof.macs(nn.Bilinear(8, 8, 5), ((2, 8), (2, 8)), training=True)
    assert report.module is not None
    assert report.module.unknown == {"aten::_trilinear": {"": 1}}


SOURCE = """
from torch import nn

def narrow():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))

def wide():
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 8))
"""


def test_side_by_side_and_swept(tmp_path: Path) -> None:
    file = tmp_path / "two.py"
    file.write_text(SOURCE, encoding="utf-8")
    modules = [f"{file}:narrow", f"{file}:wide"]
    found = vitprof.compare(modules=modules, input=["5x8"], training=True, batch=3)
    costs = [side.amounts["training_macs"] for side in found.sides]
    assert costs == [(2 + 3) * 3 * 5 * 8 * hidden for hidden in (16, 64)]
    swept = vitprof.sweep(
        modules=modules[:1], input=["5x8"], tokens="4:16:x2", measures=["training_macs"]
    )
    assert [point.values["training_macs"] for point in swept.points] == [
        (2 + 3) * tokens * 8 * 16 for tokens in (4, 8, 16)
    ]


@pytest.mark.parametrize(
    ("module", "options", "sentence"),
    [
        (nn.ReLU, {}, "ReLU has no parameter that is trained, so there is no step of training"),
        (Tied, {"checkpoint": True}, "Tied has neither set_grad_checkpointing nor"),
    ],
)
def test_refused(module: Callable[[], nn.Module], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        vitprof.macs(module(), (2, 8), training=True, **options)


def random_module(random: Random) -> nn.Module:
    """Return a chain of layers, some of them frozen, on (B, 6, 8)."""
    made: list[nn.Module] = []
    for _ in range(random.randint(1, 6)):
        layer = random.choice(
            [
                lambda: nn.Linear(8, 8, bias=random.random() < 0.5),
                lambda: nn.Conv1d(6, 6, 3, padding=1, groups=random.choice([1, 2, 3, 6])),
                lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),  # type: ignore[no-untyped-call]
                lambda: nn.LayerNorm(8),
                lambda: nn.BatchNorm1d(6),
                nn.GELU,
                lambda: nn.Dropout(0.1),
                lambda: nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 8)),
            ]
        )()
        made.append(layer.requires_grad_(random.random() < 0.7))
    made.append(nn.Linear(8, 3).requires_grad_(random.random() < 0.7))
    module = nn.Sequential(*made)
    if not any(one.requires_grad for one in module.parameters()):
        module[-1].requires_grad_()
    return module


@pytest.mark.parametrize("seed", range(4))
def test_random_chains_of_layers(seed: int) -> None:
    trained(random_module(Random(seed)), (2, 6, 8), device="meta" if seed % 2 else "cpu")
