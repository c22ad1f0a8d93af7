"""Closed forms of whole modules, against captures at other sizes and batches."""

from __future__ import annotations

import pytest
import torch
from captures import by_path, captured, reads
from torch import Tensor, nn

import vitprof
from vitprof.captured.given import Given
from vitprof.captured.libraries import find_source
from vitprof.captured.probe import probe
from vitprof.captured.sizes import at_sizes
from vitprof.captured.source import Source
from vitprof.captured.template import Template
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure

BATCH = 7
# The step of each side, and the formula of what is named.
IMAGES: list[tuple[str, int, dict[str, str]]] = [
    ("torchvision:resnet18", 32, {}),
    ("torchvision:squeezenet1_1", 16, {}),
    ("timm:test_vit", 16, {"N": "H / 16 × (W / 16) + 1"}),  # built for each size
]


def check(source: Source, template: Template, sizes: dict[str, int]) -> None:
    """Assert that the formulas at sizes are a capture's."""
    of_formula = template.layer({**sizes, "B": BATCH})
    again = captured(at_sizes(source, template.variables, sizes), BATCH)
    assert by_path(of_formula, Measure.MACS) == by_path(again, Measure.MACS)
    for tool in ("torchinfo", "fvcore", "torch"):
        assert reads(of_formula, tool) == reads(again, tool), tool
    assert of_formula.uncounted() == again.uncounted()


@pytest.mark.parametrize(("reference", "step", "names"), IMAGES)
def test_images(reference: str, step: int, names: dict[str, str]) -> None:
    source = find_source(reference)
    template = probe(source, train=False)
    assert template.batch == 0
    *_, side = source.inputs[0].axes
    assert isinstance(side, int)
    assert [(one.name, one.value, one.step) for one in template.variables] == [
        ("H", side, step),
        ("W", side, step),
    ]
    legend = template.legend({"H": side, "W": side, "B": 1})
    assert {name: size.formula for name, size in legend.items()} == names
    for height, width in ((side, side), (side + 3 * step, side - 2 * step)):
        check(source, template, {"H": height, "W": width})


class Square(nn.Module):
    """Takes square images alone, whose patches meet."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, stride=16)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] == x.shape[3]
        tokens: Tensor = self.patches(x).flatten(2)
        return tokens.transpose(1, 2) @ tokens


def test_square_images() -> None:
    source = Given(Square(), (2, 3, 64, 64))
    template = probe(source, train=False)
    (only,) = template.variables
    assert (only.name, only.value, only.step) == ("S", 64, 16)
    legend = template.legend({"S": 64, "B": 1})
    assert {name: size.formula for name, size in legend.items()} == {"N": "S / 16 × (S / 16)"}
    for side in (32, 64, 208):
        check(source, template, {"S": side})


def test_tokens() -> None:
    layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True)
    source = Given(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), (2, 11, 12))
    template = probe(source, train=False)
    (only,) = template.variables
    assert (only.name, only.value, only.step) == ("N", 11, 1)
    for tokens in (11, 3, 64):
        check(source, template, {"N": tokens})
        expected = 3 * BATCH * (tokens * (4 * 12 * 12 + 2 * 12 * 20) + 2 * tokens**2 * 12)
        tree = template.layer({"N": tokens, "B": BATCH})
        assert tree.total(Measure.MACS) == expected


def test_equal_layers_are_folded() -> None:
    layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True)
    source = Given(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), (2, 11, 12))
    tree = probe(source, train=False).layer({"N": 11, "B": 1})
    paths = [node.path for node in tree.walk(fold=True)]
    assert "layers.0-2.self_attn" in paths
    assert "layers.1.self_attn" in [node.path for node in tree.walk(fold=False)]


class WithoutBatch(nn.Module):
    """Has rows that do not scale with the batch: a table made anew at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Linear(3, 12), nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        positions = self.table(x.new_zeros(x.shape[1], 3))
        y: Tensor = self.layer(x + positions)
        return y


def test_rows_without_a_batch() -> None:
    source = Given(WithoutBatch(), (2, 11, 12))
    tree = probe(source, train=False).layer({"N": 5, "B": BATCH})
    assert by_path(tree, Measure.MACS) == {
        "": 5 * 3 * 12 + BATCH * 5 * 12 * 12,
        "table": 5 * 3 * 12,
        "layer": BATCH * 5 * 12 * 12,
    }


class One(nn.Module):
    """Refuses any batch but 1."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        (image,) = x
        y: Tensor = self.layer(image)
        return y


def test_a_module_that_takes_one_batch() -> None:
    template = probe(Given(One(), "11x12"), train=False)
    assert (template.batch, template.variables) == (1, ())
    assert template.layer({"B": 1}).total(Measure.MACS) == 11 * 12 * 12


class AtOneSize(nn.Module):
    """Refuses any batch but 3, as an exported graph does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        one, two, three = x
        y: Tensor = self.layer(torch.stack([three, two, one]))
        return y


def test_a_module_that_takes_the_batch_of_its_inputs_alone() -> None:
    tokens = 11 * (4 * 12 * 12 + 2 * 12 * 20) + 2 * 11**2 * 12
    report = vitprof.macs(AtOneSize(), (3, 11, 12), counters=["analytic"])
    assert report.total == 3 * tokens
    assert report.module is not None
    assert report.module.fixed
    sentence = r"^AtOneSize runs at batch 3 but not at 4; give 3$"
    with pytest.raises(SpecError, match=sentence):
        vitprof.macs(AtOneSize(), (3, 11, 12), batch=4, counters=["analytic"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_tools_read_a_module_of_another_dtype(dtype: torch.dtype) -> None:
    module = nn.Linear(12, 5).to(dtype)
    report = vitprof.macs(module, torch.zeros(3, 12, dtype=dtype), device="cpu")
    assert report.unavailable == {}
    assert report.counters == {"torchinfo": 3 * 65, "fvcore": 180, "torch": 180}
    assert report.explained
