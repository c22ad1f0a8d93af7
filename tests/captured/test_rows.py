"""Counts of modules of others: figures by hand or of torchvision's metadata, readings of tools.

A figure of the tools is what they said when they were run on the model with data.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch
from captures import captured, given, predicted, reads
from extras import found
from torch import Tensor, nn
from torch.nn import functional as F

from vitprof.captured.copies import copy_of
from vitprof.captured.given import Given
from vitprof.captured.libraries import find_source
from vitprof.captured.subject import CapturedModel
from vitprof.counters import EXTRAS, TOOLS
from vitprof.counters.convention import Setting
from vitprof.counters.read import read_macs
from vitprof.counters.reading import Reading
from vitprof.counters.reconcile import reconcile_macs
from vitprof.counters.restored import restored
from vitprof.formulas.layer import Layer, Measure

CONVNEXT = 4_455_531_264, 28_589_128
ROWS = [
    ("timm:vit_base_patch16_224", 17_563_828_224, 86_567_656),
    ("timm:vit_large_patch16_224", 61_554_712_576, 304_326_632),
    ("timm:vit_base_patch14_dinov2", 151_573_718_016, 86_579_712),
    ("timm:mixer_b16_224", 12_601_767_936, 59_880_472),
    ("timm:convmixer_768_32", 20_676_851_712, 21_110_248),
    ("timm:convnext_tiny", *CONVNEXT),
    ("torchvision:convnext_tiny", *CONVNEXT),
    ("transformers:ConvNextForImageClassification num_labels=1000", *CONVNEXT),
    ("torchvision:vgg16", 15_470_264_320, 138_357_544),
    ("torchvision:efficientnet_b0", 385_814_752, 5_288_548),
    ("torchvision:inception_v3", 5_713_216_096, 27_161_264),
    ("torchvision:shufflenet_v2_x1_0", 144_907_992, 2_278_604),
    ("torchvision:swin_v2_t 3x256x256", 5_939_690_496, 28_351_570),
    ("torchvision:regnet_y_400mf", 401_842_848, 4_344_144),
    ("transformers:Dinov2Model", 23_161_227_264, 85_725_696),
    ("transformers:ViTMAEForPreTraining", 9_781_133_312, 111_907_840),
    ("transformers:CLIPModel", 7_388_582_400, 151_277_313),
    ("transformers:BertModel", 11_174_215_680, 109_482_240),
]
READINGS = {  # of fvcore and torchinfo
    "timm:vit_base_patch16_224": (16_867_412_736, 201_581_032),
    "torchvision:swin_t": (4_509_232_128, 34_368_232),
    "torchvision:resnet50": (4_111_512_576, 4_089_238_376),
    "timm:convmixer_768_32": (19_546_748_928, 20_728_070_632),
}
# timm's models for tests, at 160 × 160: gates, norms of groups, positions by an MLP.
OF_EXTRAS = ("efficientnet_gn", "vit")  # of which the extras have rules of their own
SMALL = ("byobnet", "efficientnet_gn", "mambaout", "vit", "vit_relpos")


def model(row: str) -> CapturedModel:
    reference, *words = row.split()
    inputs = [word for word in words if "=" not in word]
    args = [word for word in words if "=" in word]
    if reference.startswith("transformers:ConvNext"):
        inputs = ["pixel_values=3x224x224"]
    if reference == "transformers:Dinov2Model":
        inputs = ["pixel_values=3x224x224"]  # its own images have 518
    return CapturedModel(find_source(reference, args=args, inputs=inputs))


@pytest.mark.parametrize(("row", "macs", "params"), ROWS)
def test_counts(row: str, macs: int, params: int) -> None:
    asked = model(row)
    tree = captured(asked.source)
    assert tree.total(Measure.MACS) == macs
    assert asked.parameters().total(Measure.PARAMS) == params
    assert tree.unknown() == {}
    # Without data, PyTorch's counter registers all of these contractions.
    assert reads(tree, "torch") == macs
    if row in READINGS:
        assert (reads(tree, "fvcore"), reads(tree, "torchinfo")) == READINGS[row]


@pytest.mark.parametrize("row", ["torchvision:swin_t", "torchvision:resnet50"])
def test_readings(row: str) -> None:
    tree = captured(model(row).source)
    assert (reads(tree, "fvcore"), reads(tree, "torchinfo")) == READINGS[row]


@pytest.mark.parametrize("name", SMALL)
def test_tools_say_what_is_predicted_when_they_run(name: str) -> None:
    asked = model(f"timm:test_{name}")
    tree = captured(asked.source)
    built = asked.build(device="meta", dtype=torch.float32).eval().requires_grad_(False)
    module = copy_of(built, device="cpu", zeros=True)
    x = asked.inputs(1, device="cpu", dtype=torch.float32)
    setting = Setting(device="cpu")
    extras = [EXTRAS[name] for name in found()] if name in OF_EXTRAS else []
    for tool in [*TOOLS.values(), *extras]:
        with restored(module), redirect_stdout(StringIO()):
            reading = tool.macs(module, *x)
        difference = reconcile_macs(tree, tool.convention(setting), reading)
        assert difference.explained, (tool.name, difference)


def test_fvcore_has_no_rule_for_padding_by_a_word() -> None:
    tree = captured(model("transformers:SiglipVisionModel").source)
    # The patch embedding is 768 products of 3 × 16 × 16 at 14 × 14 places.
    causes = {cause.cause: cause.amount for cause in predicted(tree, "fvcore").causes}
    assert causes["convolutions with padding as a word have no rule"] == -(768 * 768 * 14 * 14)
    assert reads(tree, "fvcore") == 16_903_422_720


class Attends(nn.Module):
    """Causal attention of 4 heads of queries, of which each 2 share keys and values."""

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, k, is_causal=True, enable_gqa=True)


D, H, N = 64, 256, 50
ENCODER = N * (3 * D * D + D * D + 2 * D * H) + 2 * N * N * D
PARTS: list[tuple[Callable[[], nn.Module], object, int, int]] = [
    (
        lambda: nn.TransformerEncoderLayer(D, 4, H, batch_first=True),
        (1, N, D),
        ENCODER,
        3 * D * D + 3 * D + D * D + D + D * H + H + H * D + D + 4 * D,
    ),
    # Three gates, each of the input and of the state.
    (
        lambda: nn.GRU(32, 64, batch_first=True),
        (1, 20, 32),
        20 * 3 * 64 * (32 + 64),
        3 * 64 * (32 + 64 + 2),
    ),
    (Attends, ((1, 4, 20, 16), (1, 2, 20, 16)), 4 * 20 * 20 * (16 + 16), 0),
]


@pytest.mark.parametrize(("make", "inputs", "macs", "params"), PARTS)
def test_parts_of_torch(
    make: Callable[[], nn.Module], inputs: object, macs: int, params: int
) -> None:
    module = make()
    assert given(module, inputs).total(Measure.MACS) == macs
    assert sum(parameter.numel() for parameter in module.parameters()) == params


def test_figures_of_the_parts() -> None:
    assert [(macs, params) for _, _, macs, params in PARTS] == [
        (2_777_600, 49_984),
        (368_640, 18_816),
        (51_200, 0),
    ]


def fast_paths(tree: Layer) -> list[str]:
    nodes = tree.walk(fold=False)
    return [node.path for node in nodes if isinstance(node.item, Layer) and node.item.fast]


@pytest.mark.parametrize(
    ("setting", "torch_macs"),
    [
        (Setting(device="cpu"), 0),  # one function, which is not registered
        (Setting(device="cpu", grad=True), ENCODER - 2 * N * N * D),
        (Setting(device="meta"), ENCODER),
    ],
)
def test_the_fast_path_of_an_encoder_layer(setting: Setting, torch_macs: int) -> None:
    module = nn.Sequential(nn.TransformerEncoderLayer(D, 4, H, batch_first=True), nn.Linear(D, 3))
    asked = CapturedModel(Given(module, (1, N, D)))
    tree = asked.formula(1)
    assert tree.total(Measure.MACS) == ENCODER + N * D * 3
    assert fast_paths(tree) == ["0", "0.self_attn"]
    readings = read_macs(TOOLS.values(), asked, 1, setting, force=False, say=lambda _: None)
    for name, reading in readings.items():
        assert isinstance(reading, Reading)
        difference = reconcile_macs(tree, TOOLS[name].convention(setting), reading)
        assert difference.explained, (name, difference)
    assert readings["torch"].total == torch_macs + N * D * 3  # type: ignore[union-attr]
