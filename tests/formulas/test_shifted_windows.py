"""Windows that are shifted in every second block, with cosines and an MLP of offsets."""

from __future__ import annotations

from itertools import product
from math import log
from random import Random
from typing import Any

import pytest
import torch
from combinations import described, differences
from references import prepare
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.swin_transformer_v2 import SwinTransformerV2Block
from torch import Tensor
from torch.testing import assert_close

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixers.window import WindowAttention as Formula
from vitprof.formulas.op import Op
from vitprof.modules.build import build
from vitprof.modules.mixers.window import WindowAttention, shift_mask
from vitprof.request.specs import specify, specify_loosely
from vitprof.request.workload import Workload

HEADS, C = 2, 5
DIM = HEADS * C
SMALL: dict[str, Any] = {
    **{"image_size": 24, "image_width": 16, "patch_size": 2, "depths": (2, 3), "widths": (8, 12)},
    **{"stage_heads": (2, 2), "merge": "concat", "window": 4},
}


def attended(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float | Tensor) -> Tensor:
    """Return softmax(q K^T scale + bias) V for a single query."""
    shares = torch.stack([(q * key).sum() * scale + b for key, b in zip(k, bias, strict=True)])
    return shares.softmax(0) @ v


@torch.no_grad()
@pytest.mark.parametrize(
    ("grid", "window", "shifts"),
    [((6, 6), 3, (1, 1)), ((4, 6), 2, (1, 1)), ((4, 8), 4, (0, 2)), ((6, 3), 3, (1, 0))],
    ids=str,
)
@pytest.mark.parametrize("cosine", [False, True])
def test_shifted_windows(
    grid: tuple[int, int], window: int, shifts: tuple[int, int], *, cosine: bool
) -> None:
    """Liu et al. 2021, section 3.2: what comes from the other side of the image is not read."""
    torch.manual_seed(0)
    (rows, columns), B = grid, 2
    options: dict[str, Any] = {"window_shift": shifts, "window_cosine": cosine, "key_bias": False}
    mixer: Any = WindowAttention(DIM, HEADS, grid=grid, window=window, **options)
    prepare(mixer)
    x = torch.randn(B, rows * columns, DIM, dtype=torch.float64)
    q = x @ mixer.q.weight.T + mixer.q.bias
    k = x @ mixer.k.weight.T
    v = x @ mixer.v.weight.T + mixer.v.bias
    y = torch.empty_like(x)
    places = list(product(range(rows), range(columns)))

    def moved(place: tuple[int, int]) -> tuple[int, int]:
        return (place[0] - shifts[0]) % rows, (place[1] - shifts[1]) % columns

    def region(place: tuple[int, int]) -> tuple[bool, ...]:
        return tuple(at < shift for at, shift in zip(place, shifts, strict=True))

    for n, place in enumerate(places):
        row, column = moved(place)
        inside = [
            m
            for m, other in enumerate(places)
            if (moved(other)[0] // window, moved(other)[1] // window)
            == (row // window, column // window)
        ]
        assert len(inside) == window**2
        apart = [(row - moved(places[m])[0], column - moved(places[m])[1]) for m in inside]
        masked = torch.tensor([100.0 * (region(places[m]) != region(place)) for m in inside])
        for b, head in product(range(B), range(HEADS)):
            own = slice(head * C, (head + 1) * C)
            query, keys = q[b, n, own], k[b, inside][:, own]
            scale: float | Tensor = C**-0.5
            if cosine:
                query = query / query.square().sum().sqrt()
                keys = torch.stack([key / key.square().sum().sqrt() for key in keys])
                scale = mixer.logit_scale[head, 0, 0].exp()
            table = [
                mixer.relative_bias[(i + window - 1) * (2 * window - 1) + j + window - 1, head]
                for i, j in apart
            ]
            bias = torch.stack(table) - masked
            y[b, n, own] = attended(query, keys, v[b, inside][:, own], bias, scale)
    assert_close(mixer(x), y @ mixer.fc_out.weight.T + mixer.fc_out.bias)


def test_a_scale_of_cosines_is_at_most_100() -> None:
    mixer: Any = WindowAttention(DIM, HEADS, grid=(2, 2), window=2, window_cosine=True)
    prepare(mixer)
    x = torch.randn(1, 4, DIM, dtype=torch.float64)
    with torch.no_grad():
        mixer.logit_scale.fill_(log(100))
        at_most = mixer(x)
        mixer.logit_scale.fill_(log(100) + 1)
        assert_close(mixer(x), at_most)


@torch.no_grad()
def test_a_shifted_block_is_timms() -> None:
    timms: Any = SwinTransformerBlock(
        DIM, (6, 9), num_heads=HEADS, window_size=3, shift_size=1
    ).double()
    mixer: Any = WindowAttention(DIM, HEADS, grid=(6, 9), window=3, window_shift=(1, 1)).double()
    timms.attn.relative_position_bias_table.normal_()
    names = {"qkv.weight", "qkv.bias"}
    weights = {name: tensor for name, tensor in timms.attn.state_dict().items() if name in names}
    weights |= {f"fc_out.{name}": getattr(timms.attn.proj, name) for name in ("weight", "bias")}
    weights["relative_bias"] = timms.attn.relative_position_bias_table
    mixer.load_state_dict(weights)
    assert_close(mixer.shift_mask, timms.attn_mask)
    x = torch.randn(2, 54, DIM, dtype=torch.float64)
    assert_close(mixer(x), timms._attn(x.reshape(2, 6, 9, DIM)).reshape(2, 54, DIM))


@torch.no_grad()
def test_a_block_of_the_second_version_is_timms() -> None:
    timms: Any = SwinTransformerV2Block(
        DIM, (4, 8), num_heads=HEADS, window_size=4, shift_size=2
    ).double()
    options: dict[str, Any] = {"window_relative": "mlp", "window_cosine": True, "key_bias": False}
    mixer: Any = WindowAttention(
        DIM, HEADS, grid=(4, 8), window=4, window_shift=(0, 2), **options
    ).double()
    prepare(mixer)
    own, attn = mixer.state_dict(), timms.attn
    attn.qkv.weight.copy_(torch.cat([own[f"{name}.weight"] for name in "qkv"]))
    attn.q_bias.copy_(own["q.bias"])
    attn.v_bias.copy_(own["v.bias"])
    attn.proj.load_state_dict(mixer.fc_out.state_dict())
    attn.logit_scale.copy_(mixer.logit_scale)
    attn.cpb_mlp[0].load_state_dict(mixer.relative.fc1.state_dict())
    attn.cpb_mlp[2].load_state_dict(mixer.relative.fc2.state_dict())
    # timm's logarithms are to another base, of offsets that are divided by the largest.
    mixer.relative.offsets.copy_(attn.relative_coords_table.reshape(-1, 2))
    x = torch.randn(2, 32, DIM, dtype=torch.float64)
    assert_close(mixer(x), timms._attn(x.reshape(2, 4, 8, DIM)).reshape(2, 32, DIM))


def test_zeros_behind_the_grid_are_with_what_was_moved() -> None:
    """Five rows, moved up by one, of which the last comes from the other side."""
    mask = shift_mask((5, 2), (6, 2), 2, (1, 0))
    assert not mask[:2].any()
    region = torch.tensor([1, 1, 1, 1])  # rows 4 and 5 of both columns
    assert torch.equal(mask[2] != 0, region[:, None] != region)


def test_every_second_block_of_a_stage_with_several_windows_is_shifted() -> None:
    """Of 12 x 8 and 6 x 4 tokens with windows of 4; the second stage is padded to 8 x 4."""
    model = specify(
        "pyramid", mixer="window", options={**SMALL, "window_shift": True, "window_pad": True}
    )
    stages: Any = build(model).get_submodule("stages")
    shifts = [[block.mixer.moved for block in stage.blocks] for stage in stages]
    assert shifts == [[(), (1, 2)], [(), (1,), ()]]
    numbers = [[kind.numbers for kind in stage.kinds] for stage in model.stages]
    assert numbers == [[(0,), (1,)], [(0, 2), (1,)]]


def test_blocks_with_a_single_window_are_equal() -> None:
    options = {**SMALL, "image_size": 8, "image_width": 8, "depths": (2,), "widths": (8,)}
    options |= {"stage_heads": (2,), "window_shift": True}
    (stage,) = specify("pyramid", mixer="window", options=options).stages
    (kind,) = stage.kinds
    assert kind.times.value == 2


def test_shifted_windows_cost_elements_alone() -> None:
    """A shift adds a mask of w^2 x w^2 for each window, and no MAC."""
    options = {**SMALL, "image_size": 32, "image_width": 32}
    plain = specify("pyramid", mixer="window", options=options)
    shifted = specify("pyramid", mixer="window", options={**options, "window_shift": True})
    for measure in (Measure.PARAMS, Measure.MACS):
        assert shifted.formula(3).total(measure) == plain.formula(3).total(measure)
    more = shifted.formula(3).uncounted() - plain.formula(3).uncounted()
    heads, M = 2, 4 * 4
    assert dict(more) == {"add": 3 * heads * M * M * (16 + 4)}  # 16 windows, then 4, in one block
    buffers = {
        node.path: [size.value for size in node.item.shape]
        for node in shifted.formula().walk(fold=False)
        if isinstance(node.item, Op) and node.item.name == "shift_mask"
    }
    assert buffers == {
        "stages.0.blocks.1.mixer.shift_mask": [16, M, M],
        "stages.1.blocks.1.mixer.shift_mask": [4, M, M],
    }


def test_counts_of_cosines_and_an_mlp_by_hand() -> None:
    """49 offsets of windows of 4 x 4, on an MLP with 3 hidden channels and 2 heads."""
    mixer = Formula(window=4, window_relative="mlp", window_hidden=3, window_cosine=True)
    model = specify("layer", options={"tokens": 64, "dim": 8, "heads": 2})
    formula = mixer.formula(model.stages[0].sizes, model.size("tokens"))
    mlp = (2 * 3 + 3) + 3 * 2
    assert formula.total(Measure.PARAMS) == (8 * 24 + 24) + 2 + mlp + (8 * 8 + 8)
    B, N = 64, 64
    products = 2 * B * 4 * 2 * 16 * 16 * 4  # of 4 windows and 2 heads
    of_mlp = 49 * 2 * 3 + 49 * 3 * 2
    assert formula.total(Measure.MACS) == B * N * 8 * 24 + products + of_mlp + B * N * 8 * 8


def test_memory_is_the_traces() -> None:
    random, ran = Random(1), 0
    while ran < 12:
        options: dict[str, Any] = {
            **{"window": random.choice((1, 2, 3, 4)), "window_hidden": 3, "window_shift": True},
            "window_pad": random.random() < 0.5,
            "window_relative": random.choice(("table", "none", "mlp", "decomposed")),
            **{name: random.random() < 0.5 for name in ("window_cosine", "qkv_bias", "key_bias")},
            **{"image_size": random.choice((6, 8, 12)), "image_width": random.choice((0, 4, 6))},
            **{"patch_size": 2, "dim": 8, "heads": random.choice((1, 2)), "depth": 2},
            **{"pool": "mean", "classes": 3},
        }
        dtype = random.choice(("fp32", "bf16"))
        workload = Workload(
            batch=random.choice((1, 3)),
            dtype=dtype,
            autocast=dtype == "bf16" and random.random() < 0.5,
            device=random.choice(("cpu", "cuda")),
            checkpoint=random.random() < 0.3,
        )
        try:
            case = specify_loosely("classifier", mixer="window", options=options), workload
        except SpecError:
            continue
        assert not differences(case), described(case)
        ran += 1
