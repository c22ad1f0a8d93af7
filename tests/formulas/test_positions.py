"""Rotary positions and relative position biases of attention, and keys without a bias.

References turn each pair of channels and look up each offset one by one, in double precision.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

import pytest
import torch
from references import prepare
from torch import Tensor
from torch.testing import assert_close

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op
from vitprof.modules.build import build
from vitprof.modules.mixers.attention import Attention, Shared
from vitprof.modules.parts.relative import log_offsets
from vitprof.modules.parts.rotary import TEMPERATURE
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.mixer import check_memory

B, HEADS, C = 2, 4, 8
DIM = HEADS * C
GRID = rows, columns = 2, 3
PATCHES = rows * columns
LAYER: dict[str, object] = {"tokens": 9, "dim": 24, "heads": 3}

every_prefix = pytest.mark.parametrize("prefix", [0, 1, 3])
every_kv_heads = pytest.mark.parametrize("kv_heads", [0, 2])


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Turn channels i and i + C/2 of one token by the angle i."""
    y = torch.empty_like(x)
    for i, t in enumerate(angles):
        one, other = x[i], x[i + C // 2]
        y[i] = one * t.cos() - other * t.sin()
        y[i + C // 2] = other * t.cos() + one * t.sin()
    return y


def axial_angles(patch: int) -> Tensor:
    """Half of the pairs turn with the row, half with the column."""
    frequencies = [TEMPERATURE ** (-i / (C // 4)) for i in range(C // 4)]
    row, column = divmod(patch, columns)
    angles = [row * f for f in frequencies] + [column * f for f in frequencies]
    return torch.tensor(angles, dtype=torch.float64)


def attended(module: Any, x: Tensor, bias: Any, turn: Any) -> Tensor:
    """Attend head by head and token by token; `turn` maps a head's token to its turned one.

    The bias is (heads, N, N), or a function that returns that of a head's queries.
    """
    if module.together:
        q, k, v = (x @ module.qkv.weight.T + module.qkv.bias).split(module.widths, dim=-1)
    else:
        q = x @ module.q.weight.T + module.q.bias
        k = x @ module.k.weight.T
        v = x @ module.v.weight.T + module.v.bias
    y = torch.empty_like(x)
    shared_by = HEADS // module.kv_heads
    for b, head in product(range(B), range(HEADS)):
        key = head // shared_by
        queries, keys, values = (
            part[b, :, place * C : (place + 1) * C]
            for part, place in ((q, head), (k, key), (v, key))
        )
        queries, keys = (
            torch.stack([turn(key, place, token) for place, token in enumerate(tokens)])
            for tokens in (queries, keys)
        )
        scores = queries @ keys.T / C**0.5
        if bias is not None:
            scores = scores + (bias(queries) if callable(bias) else bias[head])
        y[b, :, head * C : (head + 1) * C] = scores.softmax(dim=-1) @ values
    projected: Tensor = y @ module.fc_out.weight.T + module.fc_out.bias
    return projected


def unturned(key: int, place: int, token: Tensor) -> Tensor:
    return token


def tokens(prefix: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, prefix + PATCHES, DIM, dtype=torch.float64)


@torch.no_grad()
@every_prefix
@every_kv_heads
@pytest.mark.parametrize("fused", [False, True])
def test_axial_rotary_positions(prefix: int, kv_heads: int, fused: bool) -> None:
    """Su et al. 2021, eq. 34, along rows and columns; prefix tokens are not turned."""
    x, torch_default = tokens(prefix), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        own: dict[str, Any] = {"rope": "axial", "relative": "none", "relative_shared": False}
        tables = Shared(DIM, HEADS, **own, relative_hidden=1, grid=GRID, prefix=prefix)()
    finally:
        torch.set_default_dtype(torch_default)
    module = Attention(
        DIM, HEADS, rope="axial", kv_heads=kv_heads, fused=fused, grid=GRID, prefix=prefix
    )
    prepare(module)

    def turn(key: int, place: int, token: Tensor) -> Tensor:
        return token if place < prefix else turned(token, axial_angles(place - prefix))

    assert_close(module(x, *tables), attended(module, x, None, turn))


@torch.no_grad()
@every_prefix
@every_kv_heads
def test_mixed_rotary_positions(prefix: int, kv_heads: int) -> None:
    """Heo et al. 2024, eq. 14: a learned frequency for each axis, pair and head of keys."""
    x = tokens(prefix)
    module = Attention(DIM, HEADS, rope="mixed", kv_heads=kv_heads, grid=GRID, prefix=prefix)
    module.double().eval()
    for parameter in module.parameters():
        parameter.uniform_(-1, 1)

    def turn(key: int, place: int, token: Tensor) -> Tensor:
        if place < prefix:
            return token
        row, column = divmod(place - prefix, columns)
        rope: Any = module.rope
        return turned(token, row * rope.of_row[key, 0] + column * rope.of_column[key, 0])

    assert_close(module(x), attended(module, x, None, turn))


@torch.no_grad()
def test_rotary_scores_depend_on_offsets_only() -> None:
    """Su et al. 2021, eq. 16: equal queries and keys score alike at equal offsets."""
    torch.manual_seed(0)
    query, key = torch.randn(2, C, dtype=torch.float64)
    scores: dict[tuple[int, int], list[Tensor]] = {}
    for one, other in product(range(PATCHES), repeat=2):
        down, along = (a - b for a, b in zip(divmod(one, 3), divmod(other, 3), strict=True))
        score = turned(query, axial_angles(one)) @ turned(key, axial_angles(other))
        scores.setdefault((down, along), []).append(score)
    assert len(scores) == (2 * rows - 1) * (2 * columns - 1)
    for alike in scores.values():
        assert_close(torch.stack(alike), alike[0].expand(len(alike)))


def looked_up(entries: Any, prefix: int, others: tuple[Tensor, ...]) -> Tensor:
    """Return a bias of each head by offsets; `others` are those of prefix tokens."""
    size = prefix + PATCHES
    bias = torch.empty(HEADS, size, size, dtype=torch.float64)
    for i, j in product(range(size), repeat=2):
        if i < prefix or j < prefix:
            bias[:, i, j] = others[2 if i < prefix and j < prefix else int(j < prefix)]
            continue
        (row, column), (key_row, key_column) = divmod(i - prefix, 3), divmod(j - prefix, 3)
        bias[:, i, j] = entries(row - key_row, column - key_column)
    return bias


@torch.no_grad()
@every_prefix
@every_kv_heads
@pytest.mark.parametrize("shared", [False, True])
def test_a_table_of_relative_positions(prefix: int, kv_heads: int, shared: bool) -> None:
    """Bao et al. 2021; Liu et al. 2021, eq. 4: an entry for each head and offset."""
    x = tokens(prefix)
    own: dict[str, Any] = {"relative": "table", "relative_shared": shared, "relative_hidden": 1}
    module: Any = Attention(DIM, HEADS, kv_heads=kv_heads, **own, grid=GRID, prefix=prefix)
    prepare(module)
    given: tuple[Tensor, ...] = ()
    part: Any = module.relative
    if shared:
        assert part is None
        outside = Shared(DIM, HEADS, rope="none", **own, grid=GRID, prefix=prefix)
        prepare(outside)
        part, given = outside.relative, outside()
    table = part.table
    assert len(table) == 3 * 5 + (3 if prefix else 0)

    def entry(down: int, along: int) -> Tensor:
        found: Tensor = table[(down + rows - 1) * (2 * columns - 1) + along + columns - 1]
        return found

    bias = looked_up(entry, prefix, (table[-3], table[-2], table[-1]))
    assert_close(module(x, *given), attended(module, x, bias, unturned))


@torch.no_grad()
@every_prefix
def test_an_mlp_of_relative_positions(prefix: int) -> None:
    """Liu et al. 2022, Swin V2, eqs. 3 and 4, without the tanh-like scales of its code."""
    x = tokens(prefix)
    module: Any = Attention(
        DIM, HEADS, relative="mlp", relative_hidden=5, key_bias=False, grid=GRID, prefix=prefix
    )
    module.double().eval()
    for parameter in module.parameters():
        parameter.uniform_(-1, 1)
    part = module.relative

    def entry(down: int, along: int) -> Tensor:
        offset = [math.copysign(math.log1p(abs(o)), o) for o in (down, along)]
        inner = part.fc1.weight @ torch.tensor(offset, dtype=torch.float64) + part.fc1.bias
        found: Tensor = part.fc2.weight @ inner.clamp(min=0) + part.fc2.bias
        return found

    part.offsets.copy_(log_offsets(GRID).double())
    zero = torch.zeros(HEADS, dtype=torch.float64)
    bias = looked_up(entry, prefix, (zero, zero, zero))
    # The offsets' logarithms are held in fp32.
    assert_close(module(x), attended(module, x, bias, unturned), rtol=1e-6, atol=1e-6)


@torch.no_grad()
@every_prefix
@every_kv_heads
@pytest.mark.parametrize("qk_norm", [False, True])
def test_decomposed_relative_positions(prefix: int, kv_heads: int, qk_norm: bool) -> None:
    """Li et al. 2022, MViTv2: products of a query with vectors of its rows and its columns."""
    x = tokens(prefix)
    options: dict[str, Any] = {"kv_heads": kv_heads, "qk_norm": qk_norm, "prefix": prefix}
    module: Any = Attention(DIM, HEADS, relative="decomposed", grid=GRID, **options)
    prepare(module)
    if qk_norm:
        module.norm_k.weight.copy_(module.norm_q.weight)
    part = module.relative
    assert len(part.row_table) == 2 * rows - 1
    assert len(part.column_table) == 2 * columns - 1

    def normed(key: int, place: int, token: Tensor) -> Tensor:
        if not qk_norm:
            return token
        norm, away = module.norm_q, token - token.mean()
        scaled: Tensor = away / (away.square().mean() + norm.eps).sqrt() * norm.weight
        return scaled

    def of_queries(queries: Tensor) -> Tensor:
        bias = torch.zeros(len(queries), len(queries), dtype=torch.float64)
        for i, j in product(range(PATCHES), repeat=2):
            (row, column), (key_row, key_column) = divmod(i, columns), divmod(j, columns)
            down = part.row_table[row - key_row + rows - 1]
            along = part.column_table[column - key_column + columns - 1]
            bias[prefix + i, prefix + j] = queries[prefix + i] @ (down + along)
        return bias

    assert_close(module(x), attended(module, x, of_queries, normed))


def counts(measure: Measure, batch: int = 1, **options: object) -> dict[str, int]:
    model = specify("layer", options={**LAYER, **options})
    return {
        node.path: measure.of(node.item).value
        for node in model.formula(batch).walk(fold=False)
        if isinstance(node.item, Op) and measure.of(node.item).value
    }


def test_counts_by_hand() -> None:
    mixed = counts(Measure.PARAMS, rope="mixed", kv_heads=1)
    assert mixed["mixer.rope.of_row"] == mixed["mixer.rope.of_column"] == 1 * 8 // 2
    assert "mixer.rope.of_row" not in counts(Measure.PARAMS, rope="axial")
    table = counts(Measure.PARAMS, relative="table", relative_shared=True)
    assert table["shared.relative.table"] == (2 * 3 - 1) * (2 * 3 - 1) * 3
    mlp: dict[str, Any] = {"relative": "mlp", "relative_hidden": 11}
    params, macs = counts(Measure.PARAMS, **mlp), counts(Measure.MACS, 7, **mlp)
    assert params["mixer.relative.fc1"] == 2 * 11 + 11
    assert params["mixer.relative.fc2"] == 11 * 3 + 3
    assert macs["mixer.relative.fc1"] == 25 * 2 * 11  # 25 offsets, for any batch
    assert macs["mixer.relative.fc2"] == 25 * 11 * 3
    decomposed: dict[str, Any] = {"relative": "decomposed", "kv_heads": 1}
    params, macs = counts(Measure.PARAMS, **decomposed), counts(Measure.MACS, 7, **decomposed)
    assert params["mixer.relative.row_table"] == params["mixer.relative.column_table"] == 5 * 8
    # For each of 9 queries of 3 heads, 3 rows and 3 columns.
    assert macs["mixer.relative.by_row"] == macs["mixer.relative.by_column"] == 7 * 3 * 9 * 3 * 8
    bare = counts(Measure.PARAMS, key_bias=False, proj_bias=False, qk_norm=True, qk_norm_type="rms")
    assert bare["mixer.q"] == bare["mixer.v"] == 24 * 24 + 24
    assert bare["mixer.k"] == bare["mixer.fc_out"] == 24 * 24
    assert bare["mixer.norm_q"] == bare["mixer.norm_k"] == 8


def test_turning_is_listed() -> None:
    plain, turning = (
        specify("layer", options={**LAYER, "rope": rope}).formula(2).uncounted()
        for rope in ("none", "axial")
    )
    queries_and_keys = 2 * 2 * 9 * 24
    assert turning - plain == {
        "multiply": 2 * queries_and_keys,
        "subtract": queries_and_keys // 2,
        "add": queries_and_keys // 2,
    }


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (
            "layer",
            {"tokens": 9, "dim": 12, "heads": 2, "rope": "axial"},
            "rope axial turns channels of a head by 4 at a time, and head dim 6 (dim 12, 2 heads) "
            "is not divisible by 4; give other heads or another dim",
        ),
        (
            "layer",
            {"rope": "mixed"},
            "attn with rope mixed needs patches on a grid, and there is none, because 50 tokens "
            "are not a square",
        ),
        (
            "mae",
            {"relative": "table"},
            "attn with relative table needs patches on a grid, and there is none, because the "
            "patches that the encoder of mae keeps are scattered over the image",
        ),
        (
            "classifier",
            {"relative": "mlp", "fused": True},
            "relative mlp is added to scores, which the fused kernel never writes; give relative "
            "or fused, not both",
        ),
        (
            "classifier",
            {"relative": "decomposed", "fused": True},
            "relative decomposed is added to scores, which the fused kernel never writes; give "
            "relative or fused, not both",
        ),
        (
            "classifier",
            {"relative": "decomposed", "relative_shared": True},
            "relative shared has no effect with relative decomposed; leave it out, or give "
            "relative table or mlp",
        ),
        (
            "classifier",
            {"relative_shared": True},
            "relative shared has no effect with relative none; leave it out, or give relative "
            "table or mlp",
        ),
        (
            "classifier",
            {"class_token": True},
            "class token has no effect with pool token; leave it out, or give pool mean, map or "
            "none",
        ),
    ],
)
def test_refused(model: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        specify(model, options=options)
    assert str(refused.value) == sentence


# Positions combined with all that they meet.


def drawn(seed: int, number: int) -> list[tuple[Model, Workload]]:
    random = Random(seed)
    found: list[tuple[Model, Workload]] = []
    while len(found) < number:
        attention: dict[str, Any] = {
            "kv_heads": random.choice([0, 0, 1, 2]),
            "qk_norm": random.random() < 0.5,
            "key_bias": random.random() < 0.5,
            "proj_bias": random.random() < 0.5,
            "rope": random.choice(["none", "axial", "mixed"]),
            "relative": random.choice(["none", "table", "mlp", "decomposed"]),
            "talking_heads": random.random() < 0.2,
        }
        if attention["qk_norm"]:
            attention["qk_norm_type"] = random.choice(["layer", "rms"])
        if attention["relative"] in ("table", "mlp"):
            attention["relative_shared"] = random.random() < 0.5
        elif attention["relative"] == "none" and not attention["talking_heads"]:
            attention["fused"] = random.random() < 0.5
        classifier: dict[str, Any] = {
            "image_size": random.choice([4, 8, 12]),
            "image_width": random.choice([0, 8]),
            "depth": random.choice([1, 3]),
            "pool": random.choice(["token", "mean", "map"]),
            "registers": random.choice([0, 2]),
            "dim": random.choice([8, 16]),
            "heads": random.choice([1, 2]),
            "pos_embed": random.choice(["none", "learned"]),
        }
        if classifier["pool"] != "token":
            classifier["class_token"] = random.random() < 0.5
        workload = Workload(batch=random.choice([1, 3]), optimizer="sgd")
        how: dict[str, Any] = random.choice(
            [
                {"checkpoint": True},
                {"inference": True, "optimizer": "adamw"},
                {"dtype": "bf16", "autocast": True},
                {"dtype": "fp16", "device": "cpu"},
                {"checkpoint": True, "dtype": "bf16", "autocast": True},
            ]
        )
        try:
            model = specify("classifier", options={**classifier, **attention})
        except SpecError:
            continue
        found.append((model, replace(workload, **how)))
    return found


@pytest.mark.parametrize("case", drawn(seed=17, number=8), ids=lambda case: case[0].mixer.rope)
def test_combinations_are_their_modules(case: tuple[Model, Workload]) -> None:
    model, workload = case
    module = build(model, device="meta")
    own = sum(parameter.numel() for parameter in module.parameters())
    assert model.formula().total(Measure.PARAMS) == own
    check_memory(model, workload)
