"""Attention with shared keys, normalised queries and keys, talking heads, and windows.

References follow the papers' equations, head by head and token by token, with the modules'
weights in double precision.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from references import prepare
from torch import Tensor, nn
from torch.testing import assert_close

import vitprof
from vitprof.counters import TOOLS
from vitprof.counters.convention import Setting
from vitprof.errors import SpecError
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op, Parameter
from vitprof.modules.build import build
from vitprof.modules.mixers.attention import Attention
from vitprof.modules.mixers.window import WindowAttention, relative_index
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.mixer import check_memory

B, N, HEADS, C = 2, 7, 6, 5
DIM = HEADS * C
LAYER: dict[str, object] = {"tokens": N, "dim": DIM, "heads": HEADS}

every_kv_heads = pytest.mark.parametrize("kv_heads", [1, 2, 3, 6])
plain_or_fused = pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
with_and_without_norm = pytest.mark.parametrize("qk_norm", ["", "layer", "rms"])


def norm_of(kind: str) -> dict[str, Any]:
    """Return the options of a norm of queries and keys; of none if the kind is empty."""
    return {"qk_norm": True, "qk_norm_type": kind} if kind else {}


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, N, DIM, dtype=torch.float64)


def normalised(norm: nn.LayerNorm | nn.RMSNorm, x: Tensor) -> Tensor:
    assert norm.eps is not None
    away = x if isinstance(norm, nn.RMSNorm) else x - x.mean()
    return away / (away.square().mean() + norm.eps).sqrt() * norm.weight


def attended(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return softmax(q K^T / sqrt(d) + bias) V for a single query."""
    scores = torch.stack([q @ key / len(q) ** 0.5 for key in k])
    shares = (scores if bias is None else scores + bias).exp()
    return sum((s * value for s, value in zip(shares, v, strict=True)), torch.zeros(())) / sum(
        shares
    )


@torch.no_grad()
@every_kv_heads
@plain_or_fused
@with_and_without_norm
def test_a_group_of_heads_reads_one_key_and_value(
    x: Tensor, kv_heads: int, fused: bool, qk_norm: str
) -> None:
    """Ainslie et al. 2023, section 2.2; Dehghani et al. 2023, section 2.1, of Q and K."""
    mixer: Any = Attention(DIM, HEADS, fused=fused, kv_heads=kv_heads, **norm_of(qk_norm))
    prepare(mixer)
    assert mixer.qkv.weight.shape == (DIM + 2 * kv_heads * C, DIM)
    y = torch.empty_like(x)
    for b, head in product(range(B), range(HEADS)):
        rows = x[b] @ mixer.qkv.weight.T + mixer.qkv.bias
        shared = head // (HEADS // kv_heads)
        q = rows[:, head * C :][:, :C]
        k = rows[:, DIM + shared * C :][:, :C]
        v = rows[:, DIM + (kv_heads + shared) * C :][:, :C]
        if qk_norm:
            q = torch.stack([normalised(mixer.norm_q, token) for token in q])
            k = torch.stack([normalised(mixer.norm_k, token) for token in k])
        for n in range(N):
            y[b, n, head * C : (head + 1) * C] = attended(q[n], k, v)
    assert_close(mixer(x), y @ mixer.fc_out.weight.T + mixer.fc_out.bias)


@plain_or_fused
@with_and_without_norm
def test_a_key_for_each_head_is_plain_attention(x: Tensor, fused: bool, qk_norm: str) -> None:
    plain = Attention(DIM, HEADS, fused=fused, **norm_of(qk_norm))
    prepare(plain)
    each = Attention(DIM, HEADS, fused=fused, **norm_of(qk_norm), kv_heads=HEADS).double()
    each.load_state_dict(plain.state_dict())
    assert torch.equal(each(x), plain(x))


@plain_or_fused
@pytest.mark.parametrize("kv_heads", [1, 2])
def test_shared_keys_are_equal_keys(x: Tensor, fused: bool, kv_heads: int) -> None:
    """Ainslie et al. 2023, section 2.1, reversed: each head with a copy of what it shares."""
    shared = Attention(DIM, HEADS, fused=fused, kv_heads=kv_heads)
    prepare(shared)
    plain = Attention(DIM, HEADS, fused=fused).double()
    weights: dict[str, Any] = dict(shared.state_dict())
    for name in ("qkv.weight", "qkv.bias"):
        q, k, v = weights[name].split(shared.widths)
        k, v = (
            part.unflatten(0, (kv_heads, C)).repeat_interleave(HEADS // kv_heads, 0).flatten(0, 1)
            for part in (k, v)
        )
        weights[name] = torch.cat((q, k, v))
    plain.load_state_dict(weights)
    assert_close(shared(x), plain(x))


def conditions(**options: object) -> dict[str, Any]:
    return dict(specify("layer", options=options).conditions())


@pytest.mark.parametrize(
    ("heads", "sentence"),
    [
        (6, "heads 6 is not divisible by 4 kv heads; kv heads can be 1, 2, 3 or 6"),
        (3, "heads 3 is not divisible by 4 kv heads; kv heads can be 1 or 3"),
    ],
)
def test_keys_are_shared_evenly(heads: int, sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        specify("layer", options={"dim": 30, "heads": heads, "kv_heads": 4})
    assert str(refused.value) == sentence


def test_a_decoder_of_other_heads_shares_them_too() -> None:
    with pytest.raises(SpecError, match="heads 5 is not divisible by 2 kv heads"):
        specify("mae", options={"decoder_dim": 20, "decoder_heads": 5, "kv_heads": 2})


def test_counts_of_shared_keys_by_hand() -> None:
    model = specify("layer", options={**LAYER, "kv_heads": 2, "qk_norm": True})
    params, macs = mixer_counts(model, 3)
    assert params == {
        "qkv": 30 * (30 + 2 * 2 * 5) + (30 + 2 * 2 * 5),
        "norm_q": 5,
        "norm_k": 5,
        "fc_out": 30 * 30 + 30,
    }
    assert macs == {
        "qkv": 3 * 7 * 30 * (30 + 2 * 2 * 5),
        "scores": 3 * 6 * 7 * 5 * 7,
        "output": 3 * 6 * 7 * 7 * 5,
        "fc_out": 3 * 7 * 30 * 30,
    }
    fused = specify("layer", options={**LAYER, "kv_heads": 2, "fused": True})
    assert mixer_counts(fused, 3)[1]["attend"] == macs["scores"] + macs["output"]
    bare = specify("layer", options={**LAYER, "kv_heads": 2, "qkv_bias": False})
    assert mixer_counts(bare, 3)[0]["qkv"] == 30 * (30 + 2 * 2 * 5)


# Talking heads.


@torch.no_grad()
@pytest.mark.parametrize("kv_heads", [0, 1, 2])
@with_and_without_norm
def test_talking_heads_mix_scores_and_weights(x: Tensor, kv_heads: int, qk_norm: str) -> None:
    """Shazeer et al. 2020, section 4, with the biases of CaiT; heads and keys by their names."""
    mixer = Attention(DIM, HEADS, talking_heads=True, kv_heads=kv_heads, **norm_of(qk_norm))
    prepare(mixer)
    qkv: Any = x @ mixer.qkv.weight.T + mixer.qkv.bias
    q, k, v = (part.unflatten(-1, (-1, C)) for part in qkv.split(mixer.widths, dim=-1))
    if qk_norm:
        q, k = mixer.norm_q(q), mixer.norm_k(k)
    k, v = (part.repeat_interleave(HEADS // part.shape[2], dim=2) for part in (k, v))
    scores = torch.einsum("bnhc,bmhc->bhnm", q, k) / C**0.5
    scores = torch.einsum("bhnm,gh->bgnm", scores, mixer.mix_scores.weight)
    shares = (scores + mixer.mix_scores.bias[:, None, None]).exp()
    weights = shares / shares.sum(dim=3, keepdim=True)
    weights = torch.einsum("bhnm,gh->bgnm", weights, mixer.mix_weights.weight)
    weights = weights + mixer.mix_weights.bias[:, None, None]
    y = torch.einsum("bhnm,bmhc->bnhc", weights, v).flatten(2)
    assert_close(mixer(x), y @ mixer.fc_out.weight.T + mixer.fc_out.bias)


@torch.no_grad()
@pytest.mark.parametrize("kv_heads", [0, 3])
def test_heads_that_hear_but_themselves_do_not_talk(x: Tensor, kv_heads: int) -> None:
    talking = Attention(DIM, HEADS, talking_heads=True, kv_heads=kv_heads)
    prepare(talking)
    talking.mix_scores.weight.copy_(torch.eye(HEADS))  # whatever its bias
    talking.mix_weights.weight.copy_(torch.eye(HEADS))
    talking.mix_weights.bias.zero_()
    plain = Attention(DIM, HEADS, kv_heads=kv_heads).double()
    plain.qkv.load_state_dict(talking.qkv.state_dict())
    plain.fc_out.load_state_dict(talking.fc_out.state_dict())
    assert_close(talking(x), plain(x))


def test_counts_of_talking_heads_by_hand() -> None:
    plain_params, plain_macs = mixer_counts(specify("layer", options=LAYER), 3)
    model = specify("layer", options={**LAYER, "talking_heads": True})
    params, macs = mixer_counts(model, 3)
    maps = ("mix_scores", "mix_weights")
    assert params == {**plain_params, **dict.fromkeys(maps, 6 * 6 + 6)}
    assert macs == {**plain_macs, **dict.fromkeys(maps, 3 * 7 * 7 * 6 * 6)}


@pytest.mark.parametrize("heads", [0, 2])
def test_the_fused_kernel_lets_no_heads_talk(heads: int) -> None:
    with pytest.raises(SpecError) as refused:
        specify("layer", options={"talking_heads": True, "fused": True, "kv_heads": heads})
    assert str(refused.value) == (
        "talking heads mix scores and weights, which the fused kernel never writes; "
        "give talking heads or fused, not both"
    )


def mixer_counts(model: Model, batch: int) -> tuple[dict[str, int], dict[str, int]]:
    """Return the parameters and the MACs of the mixer's ops that have any."""
    nodes = model.formula(batch).walk(fold=True)
    ops = [
        node.item for node in nodes if isinstance(node.item, Op) and node.path.startswith("mixer.")
    ]
    params = {op.name: op.params.value for op in ops if op.params.value}
    return params, {op.name: op.macs.value for op in ops if op.macs.value}


# Windows.

HEADS_W, DIM_W = 3, 15
WINDOWS = [((6, 6), 3), ((4, 6), 2), ((3, 3), 3), ((2, 4), 1)]


@torch.no_grad()
@pytest.mark.parametrize(("grid", "window"), WINDOWS, ids=str)
def test_attention_within_windows(grid: tuple[int, int], window: int) -> None:
    """Liu et al. 2021, eq. 4, with a bias for each offset, found by the two tokens' places."""
    torch.manual_seed(0)
    rows, columns = grid
    mixer = WindowAttention(DIM_W, HEADS_W, grid=grid, window=window)
    prepare(mixer)
    x = torch.randn(B, rows * columns, DIM_W, dtype=torch.float64)
    q, k, v = (x @ mixer.qkv.weight.T + mixer.qkv.bias).chunk(3, dim=-1)
    y = torch.empty_like(x)
    places = list(product(range(rows), range(columns)))  # row by row
    table = mixer.relative_bias.reshape(2 * window - 1, 2 * window - 1, HEADS_W)
    for n, (row, column) in enumerate(places):
        inside = [
            m
            for m, (r, c) in enumerate(places)
            if (r // window, c // window) == (row // window, column // window)
        ]
        assert len(inside) == window**2
        apart = [(row - places[m][0], column - places[m][1]) for m in inside]
        for b, head in product(range(B), range(HEADS_W)):
            own = slice(head * C, (head + 1) * C)
            bias = torch.stack([table[i + window - 1, j + window - 1, head] for i, j in apart])
            y[b, n, own] = attended(q[b, n, own], k[b, inside][:, own], v[b, inside][:, own], bias)
    assert_close(mixer(x), y @ mixer.fc_out.weight.T + mixer.fc_out.bias)


@torch.no_grad()
@pytest.mark.parametrize(("grid", "window"), [((3, 5), 2), ((2, 3), 4), ((4, 4), 2)], ids=str)
@pytest.mark.parametrize("relative", ["table", "none", "decomposed"])
def test_windows_that_pad(grid: tuple[int, int], window: int, relative: str) -> None:
    """Kirillov et al. 2023: tokens of zeros have keys and values by the biases of the layers."""
    torch.manual_seed(0)
    rows, columns = grid
    options: dict[str, Any] = {"window_pad": True, "window_relative": relative}
    mixer: Any = WindowAttention(DIM_W, HEADS_W, grid=grid, window=window, **options)
    prepare(mixer)
    x = torch.randn(B, rows * columns, DIM_W, dtype=torch.float64)
    y = torch.empty_like(x)
    for b, (row, column) in product(range(B), product(range(rows), range(columns))):
        first = row // window * window, column // window * window
        inside = [(first[0] + i, first[1] + j) for i, j in product(range(window), repeat=2)]
        zero = torch.zeros(DIM_W, dtype=torch.float64)
        read = torch.stack(
            [x[b, r * columns + c] if r < rows and c < columns else zero for r, c in inside]
        )
        q, k, v = (read @ mixer.qkv.weight.T + mixer.qkv.bias).chunk(3, dim=-1)
        for head in range(HEADS_W):
            own = slice(head * C, (head + 1) * C)
            query = q[inside.index((row, column)), own]
            bias = torch.zeros(window**2, dtype=torch.float64)
            for place, (r, c) in enumerate(inside):
                down, along = row - r + window - 1, column - c + window - 1
                if relative == "table":
                    bias[place] = mixer.relative_bias[down * (2 * window - 1) + along, head]
                elif relative == "decomposed":
                    part = mixer.relative
                    bias[place] = query @ (part.row_table[down] + part.column_table[along])
            y[b, row * columns + column, own] = attended(query, k[:, own], v[:, own], bias)
    assert_close(mixer(x), y @ mixer.fc_out.weight.T + mixer.fc_out.bias)


def test_one_window_without_bias_is_attention() -> None:
    torch.manual_seed(0)
    windows = WindowAttention(DIM_W, HEADS_W, grid=(3, 3), window=3)
    prepare(windows)
    nn.init.zeros_(windows.relative_bias)
    plain = Attention(DIM_W, HEADS_W).double()
    plain.load_state_dict(
        {name: tensor for name, tensor in windows.state_dict().items() if name != "relative_bias"}
    )
    x = torch.randn(B, 9, DIM_W, dtype=torch.float64)
    assert_close(windows(x), plain(x))


def test_a_token_hears_its_window_alone() -> None:
    mixer = WindowAttention(DIM_W, HEADS_W, grid=(4, 4), window=2)
    prepare(mixer)
    x = torch.randn(B, 16, DIM_W, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(mixer(x)[1, 6].square().sum(), x)
    heard = gradient.any(dim=-1)
    assert heard[1].nonzero().flatten().tolist() == [2, 3, 6, 7]
    assert not heard[0].any()


def test_two_tokens_have_the_bias_of_their_offset() -> None:
    # Places of a window of 2, row by row: (0, 0), (0, 1), (1, 0), (1, 1); offsets from -1 to 1.
    assert relative_index(2).tolist() == [
        [4, 3, 1, 0],  # (0, 0) minus each: (0, 0), (0, -1), (-1, 0), (-1, -1)
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
    ]


def test_the_index_is_not_saved() -> None:
    mixer = WindowAttention(DIM_W, HEADS_W, grid=(3, 3), window=3)
    assert set(mixer.state_dict()) == {name for name, _ in mixer.named_parameters()}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"tokens": 36},
            "grid rows 6 is not divisible by window 7; window can be 1, 2, 3 or 6, or any with "
            "--window-pad",
        ),
        (
            {"tokens": 16, "window": 3},
            "grid rows 4 is not divisible by window 3; window can be 1, 2 or 4, or any with "
            "--window-pad",
        ),
        (
            {"tokens": 50},
            "window mixes neighbours on a grid, and there is none, because 50 tokens are not a "
            "square",
        ),
    ],
)
def test_windows_cover_the_grid(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        specify("layer", mixer="window", options=options)
    assert str(refused.value) == sentence


def test_the_default_window_fits_the_default_classifier() -> None:
    specify("classifier", mixer="window", options={"pool": "mean"})


def test_counts_of_windows_by_hand() -> None:
    options: dict[str, object] = {"tokens": 36, "dim": 15, "heads": 3, "window": 2}
    params, macs = mixer_counts(specify("layer", mixer="window", options=options), 5)
    assert params == {
        "qkv": 15 * 45 + 45,
        "fc_out": 15 * 15 + 15,
        "relative_bias": 3 * 3 * 3,
    }
    # Nine windows of four tokens.
    assert macs == {
        "qkv": 5 * 36 * 15 * 45,
        "scores": 5 * 9 * 3 * 4 * 5 * 4,
        "output": 5 * 9 * 3 * 4 * 4 * 5,
        "fc_out": 5 * 36 * 15 * 15,
    }


def test_counts_of_windows_that_pad_by_hand() -> None:
    options: dict[str, object] = {"tokens": 25, "dim": 15, "heads": 3, "window": 4}
    options |= {"window_pad": True, "window_relative": "decomposed"}
    params, macs = mixer_counts(specify("layer", mixer="window", options=options), 7)
    assert params == {
        "qkv": 15 * 45 + 45,
        "fc_out": 15 * 15 + 15,
        "row_table": 7 * 5,
        "column_table": 7 * 5,
    }
    # Four windows of 16 tokens.
    assert macs == {
        "qkv": 7 * 64 * 15 * 45,
        "by_row": 7 * 4 * 3 * 16 * 4 * 5,
        "by_column": 7 * 4 * 3 * 16 * 4 * 5,
        "scores": 7 * 4 * 3 * 16 * 5 * 16,
        "output": 7 * 4 * 3 * 16 * 16 * 5,
        "fc_out": 7 * 64 * 15 * 15,
    }


def test_windows_cost_what_the_paper_says() -> None:
    """Liu et al. 2021, eq. 2: 4 h w C^2 + 2 M^2 h w C."""
    options: dict[str, object] = {"tokens": 56 * 56, "dim": 96, "heads": 3}  # Swin-T, stage 1
    _, macs = mixer_counts(specify("layer", mixer="window", options=options), 1)
    assert sum(macs.values()) == 4 * 56 * 56 * 96**2 + 2 * 7**2 * 56 * 56 * 96


# Both against the torch modules.


# With many tokens and a narrow MLP, scores and attention weights make the peak.
NARROW = [
    specify("layer", options={**LAYER, "tokens": 41, "mlp_ratio": "0.1", **options})
    for options in (
        {"talking_heads": True},
        {"talking_heads": True, "heads": 1},
        {"talking_heads": True, "kv_heads": 1},
        {"talking_heads": True, "kv_heads": 2, "qk_norm": True},
    )
]


def layers() -> list[Model]:
    """Return options that the tests over all mixers do not combine."""
    shared = [
        specify(
            "layer",
            options={**LAYER, "kv_heads": g, "fused": fused, **norm_of(norm), "qkv_bias": bias},
        )
        for g, fused, (norm, bias) in product(
            (0, 1, 2), (False, True), (("", False), ("layer", True), ("rms", True))
        )
        if g or bias
    ]
    windows = [
        specify("layer", mixer="window", options={**LAYER, "tokens": n, "window": w})
        for n, w in ((36, 3), (36, 2), (9, 3), (4, 1))
    ]
    windows += [
        specify(
            "layer",
            mixer="window",
            options={**LAYER, "tokens": n, "window": w, "window_pad": n != 36}
            | {"window_relative": kind, "qkv_bias": bias},
        )
        for n, w, kind, bias in (
            *((36, 3, "decomposed", True), (36, 2, "none", False), (25, 3, "none", True)),
            *((25, 4, "decomposed", False), (9, 3, "decomposed", True), (4, 3, "table", True)),
            *((1, 2, "decomposed", True), (4, 1, "decomposed", True)),
        )
    ]
    return shared + windows


every_layer = pytest.mark.parametrize(
    "model", [*layers(), *NARROW], ids=lambda model: f"{model.tokens}-{model.mixer}"
)


@every_layer
def test_formulas_are_the_modules(model: Model) -> None:
    module = build(model, device="meta")
    nodes = [node for node in model.formula(3).walk(fold=False) if node.level]
    submodules = dict(module.named_modules())
    written: dict[str, tuple[int, ...]] = {}

    def note(path: str) -> Any:
        return lambda part, given, output: written.update({path: tuple(output.shape)})

    for path, part in submodules.items():
        part.register_forward_hook(note(path))
    module(torch.empty(model.input_shape(3), device="meta"))
    for node in nodes:
        item = node.item
        if isinstance(item, Layer):
            found = sum(p.numel() for p in submodules[node.path].parameters())
            assert item.total(Measure.PARAMS) == found
        elif item.module:
            found = sum(p.numel() for p in submodules[node.path].parameters())
            assert item.params.value == found, node.path
            assert tuple(size.value for size in item.shape) == written[node.path], node.path
        elif isinstance(item, Parameter):
            assert tuple(size.value for size in item.shape) == module.get_parameter(node.path).shape


@every_layer
def test_every_tools_reading_is_explained(model: Model) -> None:
    for device, train, grad in (("meta", False, False), ("cpu", True, True)):
        setting = Setting(device=device, train=train, grad=grad)
        report = vitprof.macs(model, batch=3, device=device, train=train, grad=grad)
        assert report.unavailable == {}, setting
        assert report.differences.keys() == set(TOOLS)
        for tool, difference in report.differences.items():
            assert (difference.unexplained, difference.mismatches) == (0, ()), (tool, setting)


WORKLOADS = (
    Workload(batch=2, optimizer="sgd"),
    Workload(batch=1, optimizer="sgd", checkpoint=True, dtype="bf16", autocast=True),
    Workload(batch=3, inference=True),
)


@pytest.mark.parametrize("workload", WORKLOADS, ids=["fp32", "bf16", "inference"])
@pytest.mark.parametrize("relative", ["table", "none", "decomposed"])
def test_memory_of_windows_that_pad(workload: Workload, relative: str) -> None:
    """Three by five patches, by windows of two, and a neck; windows of three pad columns alone."""
    options: dict[str, Any] = {"image_size": 6, "image_width": 10, "patch_size": 2, "depth": 2}
    options |= {"pool": "none", "head": False, "neck": 5, "window_relative": relative}
    for window in (2, 3):
        own = {**options, "window_pad": True, "window": window}
        check_memory(specify("classifier", mixer="window", options=own), workload)


def test_memory_of_a_single_token_in_a_window() -> None:
    """Its image has the strides of its norm on axes of length 1, by which zeros are laid out."""
    options: dict[str, object] = {"tokens": 1, "dim": 8, "heads": 1, "norm": "group"}
    model = specify("layer", mixer="window", options={**options, "window": 4, "window_pad": True})
    for batch in (1, 2):
        check_memory(model, Workload(batch=batch, optimizer="sgd"))
