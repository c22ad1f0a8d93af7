"""Attention to tokens of a coarser grid, spatial-reduction attention."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from references import columns, prepare
from torch import Tensor
from torch.testing import assert_close

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.mixers.spatial_reduction import SpatialReduction
from vitprof.formulas.op import Conv
from vitprof.modules.build import build_mixer
from vitprof.request.specs import specify
from vitprof.values.size import Size

B, ROWS, COLUMNS, HEADS, DIM = 2, 4, 6, 3, 12
N, C = ROWS * COLUMNS, DIM // HEADS
SIZES = MixerSizes(
    tokens=Size(N), dim=Size(DIM), heads=Size(HEADS), grid=(Size(ROWS), Size(COLUMNS))
)


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, N, DIM, dtype=torch.float64)


def attended(module: Any, x: Tensor, coarser: Tensor) -> Tensor:
    """Wang et al. 2021, PVT, eqs. 1 and 2: queries of x, keys and values of fewer tokens."""
    y = torch.zeros_like(x)
    for b, head, n in product(range(B), range(HEADS), range(N)):
        own = head * C
        query = columns(module.q, x[b, n], own, C)
        keys, values = (columns(module.kv, coarser[b], start + own, C) for start in (0, DIM))
        weights = torch.softmax(keys @ query / C**0.5, 0)
        y[b, n, own : own + C] = weights @ values
    projected: Tensor = y @ module.fc_out.weight.T + module.fc_out.bias
    return projected


def normalised(norm: Any, z: Tensor) -> Tensor:
    centred = z - z.mean(-1, keepdim=True)
    scaled: Tensor = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight
    scaled += norm.bias
    return scaled


@pytest.mark.parametrize("fused", [False, True])
@torch.no_grad()
def test_keys_and_values_are_of_squares_of_tokens(x: Tensor, fused: bool) -> None:
    module: Any = build_mixer(SpatialReduction(reduction=(2,), fused=fused), SIZES)
    prepare(module)
    coarser = torch.empty(B, N // 4, DIM, dtype=torch.float64)
    for row, column in product(range(ROWS // 2), range(COLUMNS // 2)):
        z = module.reduce.bias.expand(B, DIM).clone()
        for u, v in product(range(2), range(2)):
            token = x[:, (2 * row + u) * COLUMNS + 2 * column + v]
            z += token @ module.reduce.weight[:, :, u, v].T
        coarser[:, row * (COLUMNS // 2) + column] = normalised(module.norm, z)
    assert_close(module(x), attended(module, x, coarser))


@torch.no_grad()
def test_with_a_reduction_of_1_it_is_attention_to_all_tokens(x: Tensor) -> None:
    module: Any = build_mixer(SpatialReduction(reduction=(1,)), SIZES)
    prepare(module)
    assert_close(module(x), attended(module, x, x))


@pytest.mark.parametrize("side", [2, 3, 4])
@torch.no_grad()
def test_keys_and_values_of_means_of_regions(x: Tensor, side: int) -> None:
    """Wang et al. 2021, PVTv2, section 3.1; a region of P begins and ends as `AdaptiveAvgPool2d`
    says, at floor(i side / P) and ceil((i + 1) side / P)."""
    module: Any = build_mixer(SpatialReduction(sra_pool=side), SIZES)
    prepare(module)
    coarser = torch.empty(B, side * side, DIM, dtype=torch.float64)
    grid = x.reshape(B, ROWS, COLUMNS, DIM)
    for i, j in product(range(side), range(side)):
        rows = slice(i * ROWS // side, -((-(i + 1) * ROWS) // side))
        across = slice(j * COLUMNS // side, -((-(j + 1) * COLUMNS) // side))
        z = grid[:, rows, across].mean((1, 2))
        z = z @ module.reduce.weight[:, :, 0, 0].T + module.reduce.bias
        coarser[:, i * side + j] = torch.nn.functional.gelu(normalised(module.norm, z))
    assert_close(module(x), attended(module, x, coarser))


def test_counts_by_hand() -> None:
    mixer, M = SpatialReduction(reduction=(2,), qkv_bias=False), N // 4
    tree = mixer.formula(SIZES, Size(B))
    layers = 4 * DIM * DIM + DIM
    assert tree.total(Measure.PARAMS) == layers + (4 * DIM * DIM + DIM) + 2 * DIM
    reduced = M * 4 * DIM * DIM
    assert tree.total(Measure.MACS) == B * (
        2 * N * DIM * DIM + M * 2 * DIM * DIM + reduced + 2 * N * M * DIM
    )
    pooled = SpatialReduction(sra_pool=2).formula(SIZES, Size(B))
    assert pooled.total(Measure.MACS) == B * (
        2 * N * DIM * DIM + 4 * 2 * DIM * DIM + 4 * DIM * DIM + 2 * N * 4 * DIM
    )
    assert pooled.uncounted()["adaptive average pool"] == B * N * DIM


SMALL: dict[str, Any] = {
    **{"image_size": 16, "image_width": 24, "patch_size": 2, "channels": 3, "classes": 7},
    **{"depths": (1, 2), "widths": (6, 10), "stage_heads": (3, 2)},
}


def test_each_stage_has_its_own_reduction() -> None:
    model = specify("pyramid", mixer="sra", options={**SMALL, "reduction": (4, 1)})
    convs = [
        (node.path, node.item.kernel[0].value)
        for node in model.formula().walk(fold=True)
        if isinstance(node.item, Conv) and node.path.endswith("reduce")
    ]
    assert convs == [("stages.0.blocks.0.mixer.reduce", 4)]
    alike = specify("pyramid", mixer="sra", options={**SMALL, "reduction": 2}).formula()
    paths = [node.path for node in alike.walk(fold=True) if node.path.endswith("reduce")]
    assert paths == ["stages.0.blocks.0.mixer.reduce", "stages.1.blocks.0-1.mixer.reduce"]


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (
            "pyramid",
            {**SMALL, "reduction": (2, 2, 1)},
            "reduction 2,2,1 is of 3 stages, and the model has 2; give one number for each, or one "
            "for all",
        ),
        (
            "layer",
            {"tokens": 16, "reduction": (2, 1)},
            "reduction 2,1 is of 2 stages, and the model has 1; give one number for each, or one "
            "for all",
        ),
        (
            "pyramid",
            {**SMALL, "reduction": (4, 4)},
            "grid columns 6 of stage 2 is not divisible by reduction 4; reduction can be 1, 2, 3 "
            "or 6",
        ),
        (
            "classifier",
            {"reduction": 2},
            "sra mixes neighbours on a grid, and there is none, because",
        ),
        (
            "layer",
            {"tokens": 16, "sra_pool": 1},
            "sra pool 1 leaves one key, of which a softmax has nothing to choose; give 2 or more, "
            "or 0 for a convolution",
        ),
        (
            "layer",
            {"tokens": 16, "sra_pool": 2, "reduction": 4},
            "reduction 4 has no effect with sra pool 2; leave it out, or leave out sra pool",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    model: str, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        specify(model, mixer="sra", options=options)
    assert str(refusal.value).startswith(sentence)
