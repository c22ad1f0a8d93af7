"""Mixers of sequences against their papers' equations, token by token.

The references are loops written from the papers, with the modules' weights. Parameters are derived
from the classes of the papers' own code.
"""

from __future__ import annotations

from itertools import product
from math import sqrt

import pytest
import torch
from references import columns, prepare
from torch import Tensor, nn
from torch.nn.functional import silu, softplus
from torch.testing import assert_close

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.attention import Attention as AttentionSpec
from vitprof.formulas.mixers.channel_mix import ChannelMix as ChannelMixSpec
from vitprof.formulas.mixers.diff_attention import DiffAttention as DiffSpec
from vitprof.formulas.mixers.gated_linear_attention import GatedLinearAttention as GlaSpec
from vitprof.formulas.mixers.latent_attention import LatentAttention as LatentSpec
from vitprof.formulas.mixers.mamba import Mamba as MambaSpec
from vitprof.formulas.mixers.retention import Retention as RetentionSpec
from vitprof.formulas.mixers.rwkv import Rwkv as RwkvSpec
from vitprof.formulas.mixers.topk_attention import TopKAttention as TopKSpec
from vitprof.modules.mixers.channel_mix import ChannelMix
from vitprof.modules.mixers.diff_attention import DiffAttention
from vitprof.modules.mixers.gated_linear_attention import GatedLinearAttention
from vitprof.modules.mixers.latent_attention import LatentAttention
from vitprof.modules.mixers.mamba import Mamba, SelectiveScan
from vitprof.modules.mixers.retention import Retention
from vitprof.modules.mixers.rwkv import Rwkv
from vitprof.modules.mixers.topk_attention import TopKAttention
from vitprof.request.specs import specify
from vitprof.values.size import Size

B, N, HEADS, HEAD_DIM = 2, 7, 3, 10
DIM, HALF = HEADS * HEAD_DIM, HEAD_DIM // 2


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, N, DIM, dtype=torch.float64)


def count(mixer: Mixer, measure: Measure, *, tokens: int, dim: int, heads: int) -> int:
    sizes = MixerSizes(tokens=Size(tokens), dim=Size(dim), heads=Size(heads))
    return mixer.formula(sizes, Size(1)).of_one(measure)


def rms(x: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Return a vector over its root mean square."""
    return x / (x.square().mean() + epsilon).sqrt()


# Differential attention


@torch.no_grad()
def test_differential_attention_is_the_difference_of_two(x: Tensor) -> None:
    """Ye et al. 2024, eqs. 1 to 3, a query at a time, with lambda_init 0.8."""
    mixer = DiffAttention(DIM, HEADS)
    prepare(mixer)
    factor = mixer.lambda_q1.dot(mixer.lambda_k1).exp()
    factor = factor - mixer.lambda_q2.dot(mixer.lambda_k2).exp() + 0.8
    y = torch.empty_like(x)
    for b, head in product(range(B), range(HEADS)):
        first = head * HEAD_DIM
        q1, q2 = (columns(mixer.qkv, x[b], first + part * HALF, HALF) for part in (0, 1))
        k1, k2 = (columns(mixer.qkv, x[b], DIM + first + part * HALF, HALF) for part in (0, 1))
        v = columns(mixer.qkv, x[b], 2 * DIM + first, HEAD_DIM)
        for n in range(N):
            one, other = (
                torch.stack([q[n].dot(k[m]) / sqrt(HALF) for m in range(N)]).softmax(0)
                for q, k in ((q1, k1), (q2, k2))
            )
            mixed = rms((one - factor * other) @ v) * mixer.norm.weight
            y[b, n, first : first + HEAD_DIM] = (1 - 0.8) * mixed
    assert_close(mixer(x), columns(mixer.fc_out, y, 0, DIM))


def test_differential_attention_has_the_parameters_of_the_papers_code() -> None:
    """`MultiheadDiffAttn` of microsoft/unilm at the 3B model's sizes, D = 3072 and 12 heads.

    Four D x D projections, four vectors of d = 128, and a gain of 2d.
    """
    d = 3072 // 12 // 2
    bare, sizes = DiffSpec(qkv_bias=False, proj_bias=False), {"dim": 3072, "heads": 12}
    assert count(bare, Measure.PARAMS, tokens=N, **sizes) == 4 * 3072**2 + 4 * d + 2 * d
    timms = DiffSpec(qkv_bias=False)  # `DiffAttention`, which has a bias of the output
    assert count(timms, Measure.PARAMS, tokens=N, **sizes) == 4 * 3072**2 + 4 * d + 2 * d + 3072


def test_half_as_many_heads_cost_what_attention_costs() -> None:
    """2h matrices of N x N scores over D / 2h channels, and h products with values of D / h."""
    found = count(DiffSpec(), Measure.MACS, tokens=N, dim=DIM, heads=HEADS)
    assert found == 4 * N * DIM**2 + 2 * HEADS * N * N * HALF + HEADS * N * N * HEAD_DIM


# Retention


def rotated(x: Tensor, n: int) -> Tensor:
    """Return a query or a key at position n, its channels as complex numbers of both halves."""
    half = len(x) // 2
    frequencies = 10_000 ** -torch.linspace(0, 1, half, dtype=torch.float32).double()
    turned = torch.complex(x[:half], x[half:]) * torch.exp(1j * n * frequencies)
    return torch.cat([turned.real, turned.imag])


def retained(
    mixer: Retention, x: Tensor, head: int, gamma: float, *, order: range
) -> dict[int, Tensor]:
    """Return S^T q of each token of one image and head, by the recurrence along an order."""
    first, width = head * HEAD_DIM, mixer.v.out_features // HEADS
    rows = slice(first, first + HEAD_DIM)
    state, found = torch.zeros(HEAD_DIM, width, dtype=torch.float64), {}
    for n in order:
        q, k = (rotated(linear.weight[rows] @ x[n], n) for linear in (mixer.q, mixer.k))
        v = mixer.v.weight[head * width : (head + 1) * width] @ x[n]
        state = gamma * state + torch.outer(k / sqrt(HEAD_DIM), v)
        found[n] = state.T @ q
    return found


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
def test_retention_is_a_recurrence(x: Tensor, causal: bool) -> None:
    """Sun et al. 2023, eqs. 1 and 8; in both directions, from either end."""
    mixer = Retention(DIM, HEADS, tokens=N, expand=2, causal=causal)
    prepare(mixer)  # which changes no buffer that is not stored
    y = torch.empty(B, N, 2 * DIM, dtype=torch.float64)
    for b, head in product(range(B), range(HEADS)):
        gamma = 1 - 2.0 ** (-5 - head)
        ahead = retained(mixer, x[b], head, gamma, order=range(N))
        behind = retained(mixer, x[b], head, gamma, order=range(N - 1, -1, -1))
        for n in range(N):
            total = ahead[n]
            if not causal:  # the token itself is in both
                itself = retained(mixer, x[b], head, gamma, order=range(n, n + 1))[n]
                total = total + behind[n] - itself
            y[b, n, head * 2 * HEAD_DIM : (head + 1) * 2 * HEAD_DIM] = rms(total)
    gate = silu(x @ mixer.gate.weight.T)
    assert_close(mixer(x), (gate * y) @ mixer.fc_out.weight.T, rtol=1e-5, atol=1e-6)


def test_retention_has_the_parameters_of_the_papers_code() -> None:
    """`MultiScaleRetention` of microsoft/torchscale, with values of 2 D: 2 D^2 + 3 (2 D^2)."""
    for dim, heads in ((2048, 8), (2560, 10)):  # 1.3B and 2.7B of the paper's table 4
        sizes = {"tokens": N, "dim": dim, "heads": heads}
        assert count(RetentionSpec(), Measure.PARAMS, **sizes) == 8 * dim**2


def test_both_directions_cost_what_one_does() -> None:
    """Scores over D channels and products with 2 D: the mask is no contraction."""
    for causal in (False, True):
        found = count(RetentionSpec(causal=causal), Measure.MACS, tokens=N, dim=DIM, heads=HEADS)
        assert found == 8 * N * DIM**2 + N * N * DIM + N * N * 2 * DIM


# Gated linear attention


def faded(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, *, order: range) -> dict[int, Tensor]:
    """Return S^T q of each token by the recurrence S = diag(gate) S + k v^T along an order.

    From the first token on, the state fades by the gate of the token that is read; from the last
    one on too.
    """
    state, found = torch.zeros(k.shape[1], v.shape[1], dtype=torch.float64), {}
    for n in order:
        state = gates[n][:, None] * state + torch.outer(k[n], v[n])
        found[n] = state.T @ q[n] / sqrt(k.shape[1])
    return found


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
def test_gated_linear_attention_is_a_recurrence(x: Tensor, causal: bool) -> None:
    """Yang et al. 2023, eq. 3; in both directions, with gates of their own from either end."""
    mixer = GatedLinearAttention(DIM, HEADS, tokens=N, gate_rank=3, causal=causal)
    prepare(mixer)
    y = torch.empty_like(x)
    for b, head in product(range(B), range(HEADS)):
        keys, values = (slice(head * width, (head + 1) * width) for width in (HALF, HEAD_DIM))
        q, k = (x[b] @ linear.weight[keys].T for linear in (mixer.q, mixer.k))
        v = x[b] @ mixer.v.weight[values].T
        logits = mixer.gate_up(x[b] @ mixer.gate_down.weight.T)
        gates = torch.sigmoid(-logits) ** (1 / 16)
        ahead, *behind = torch.split(gates, DIM // 2, dim=1)
        total = faded(q, k, v, ahead[:, keys], order=range(N))
        if not causal:
            back = faded(q, k, v, behind[0][:, keys], order=range(N - 1, -1, -1))
            total = {n: total[n] + back[n] for n in total}
        for n in range(N):
            y[b, n, values] = rms(total[n]) * mixer.norm.weight
    gate = silu(x @ mixer.gate.weight.T)
    assert_close(mixer(x), (gate * y) @ mixer.fc_out.weight.T, rtol=1e-5, atol=1e-6)


def test_gated_linear_attention_has_the_parameters_of_the_papers_code() -> None:
    """`GatedLinearAttention` of sustcsonglin/flash-linear-attention, D = 2048 and 4 heads.

    Q and K to D / 2, V, the output's gate and the output of D; the gates by rank 16 to D / 2, with
    a bias; a gain of D / 4.
    """
    D, h, rank = 2048, 4, 16
    found = count(GlaSpec(causal=True), Measure.PARAMS, tokens=N, dim=D, heads=h)
    own = 2 * D * D // 2 + 3 * D * D + D * rank + rank * D // 2 + D // 2 + D // h
    assert found == own
    both = count(GlaSpec(), Measure.PARAMS, tokens=N, dim=D, heads=h)
    assert both == own + rank * D // 2 + D // 2  # of ViG: as many gates for the other direction


@torch.no_grad()
def test_gates_allow_two_thousand_tokens_at_first() -> None:
    """2,000 gates of (1/2)^(1/16) are e^-86.6, and the smallest normal fp32 is e^-87.3."""
    mixer = GatedLinearAttention(4, 1, tokens=2000)
    nn.init.zeros_(mixer.gate_up.weight)
    assert mixer(torch.randn(1, 2000, 4)).isfinite().all()


# Latent attention


def turned(x: Tensor, n: int) -> Tensor:
    """Return channels that are rotated as complex numbers of both halves, by n / 10000^(2i/r)."""
    half = len(x) // 2
    frequencies = 10_000 ** -(torch.arange(0, 2 * half, 2) / (2 * half)).double()
    found = torch.complex(x[:half], x[half:]) * torch.exp(1j * n * frequencies)
    return torch.cat([found.real, found.imag])


@torch.no_grad()
@pytest.mark.parametrize(("q_rank", "width"), [(0, 0), (5, 6)])
def test_latent_attention_reads_keys_and_values_from_a_latent(
    x: Tensor, q_rank: int, width: int
) -> None:
    """DeepSeek-AI 2024, eqs. 37 to 47 of appendix C, a query at a time."""
    latent, r, d = 11, 4, width or HEAD_DIM
    mixer = LatentAttention(
        DIM, HEADS, tokens=N, latent=latent, q_rank=q_rank, rope_dim=r, head_width=width
    )
    prepare(mixer)

    def queries(token: Tensor) -> Tensor:
        if mixer.q is not None:
            return mixer.q.weight @ token
        down = mixer.q_down.weight @ token
        return mixer.q_up.weight @ (rms(down, 1e-6) * mixer.q_norm.weight)

    y = torch.empty(B, N, HEADS * d, dtype=torch.float64)
    for b, head in product(range(B), range(HEADS)):
        own, shared = slice(head * (d + r), (head + 1) * (d + r)), x[b] @ mixer.kv_down.weight.T
        keys, values = [], []
        for n in range(N):
            up = mixer.kv_up.weight @ (rms(shared[n, :latent], 1e-6) * mixer.kv_norm.weight)
            k, v = torch.split(up[head * 2 * d : (head + 1) * 2 * d], d)
            keys.append(torch.cat([k, turned(shared[n, latent:], n)]))
            values.append(v)
        for n in range(N):
            q = queries(x[b, n])[own]
            q = torch.cat([q[:d], turned(q[d:], n)])
            weights = torch.stack([q.dot(k) / sqrt(d + r) for k in keys]).softmax(0)
            y[b, n, head * d : (head + 1) * d] = weights @ torch.stack(values)
    assert_close(mixer(x), y @ mixer.fc_out.weight.T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("dim", "heads", "q_rank"), [(5120, 128, 1536), (2048, 16, 0)], ids=["V2", "V2-Lite"]
)
def test_latent_attention_has_the_parameters_of_the_papers_code(
    dim: int, heads: int, q_rank: int
) -> None:
    """`DeepseekV2Attention`: 128 channels of a head, 64 more that are rotated, a latent of 512."""
    d, r, latent = 128, 64, 512
    spec = LatentSpec(latent=latent, q_rank=q_rank, rope_dim=r, head_width=d)
    queries = heads * (d + r)
    own = dim * q_rank + q_rank + q_rank * queries if q_rank else dim * queries
    own += dim * (latent + r) + latent + latent * heads * 2 * d + heads * d * dim
    assert count(spec, Measure.PARAMS, tokens=N, dim=dim, heads=heads) == own


def test_channels_are_rotated_in_pairs() -> None:
    with pytest.raises(SpecError, match=r"^rope dim 3 is odd, and channels are rotated in pairs"):
        LatentSpec(rope_dim=3)


# Top-k attention


@torch.no_grad()
@pytest.mark.parametrize("k", [1, 3, N, 2 * N])
def test_top_k_attention_reads_the_keys_of_the_highest_scores(x: Tensor, k: int) -> None:
    """Zhao et al. 2019, eqs. 4 to 7, a query at a time."""
    mixer = TopKAttention(DIM, HEADS, top_k=k)
    prepare(mixer)
    y = torch.empty_like(x)
    for b, head in product(range(B), range(HEADS)):
        first = head * HEAD_DIM
        q, key, v = (columns(mixer.qkv, x[b], part * DIM + first, HEAD_DIM) for part in range(3))
        for n in range(N):
            scores = [q[n].dot(key[m]).item() / sqrt(HEAD_DIM) for m in range(N)]
            read = sorted(range(N), key=lambda m: -scores[m])[:k]
            weights = torch.tensor([scores[m] for m in read], dtype=torch.float64).softmax(0)
            y[b, n, first : first + HEAD_DIM] = weights @ v[read]
    assert_close(mixer(x), columns(mixer.fc_out, y, 0, DIM))


def test_top_k_attention_costs_what_attention_costs() -> None:
    """`kNNAttention` of damo-cv/KVT: a product of all scores, and a dense one with the values."""
    sizes = {"tokens": 197, "dim": 384, "heads": 6}  # DeiT-S, with k = 100
    for measure in (Measure.PARAMS, Measure.MACS):
        assert count(TopKSpec(top_k=100), measure, **sizes) == count(
            AttentionSpec(), measure, **sizes
        )


# RWKV


def shifted(x: Tensor, rows: int, columns: int) -> Tensor:
    """Return (rows x columns, D) with quarters of D moved right, left, down and up by a patch."""
    grid, quarter = x.reshape(rows, columns, -1), x.shape[1] // 4
    moved = grid.clone()
    for part, (down, along) in enumerate(((0, 1), (0, -1), (1, 0), (-1, 0))):
        channels = slice(part * quarter, (part + 1) * quarter)
        for r, c in product(range(rows), range(columns)):
            inside = 0 <= r - down < rows and 0 <= c - along < columns
            moved[r, c, channels] = grid[r - down, c - along, channels] if inside else 0
    return moved.reshape(rows * columns, -1)


@torch.no_grad()
@pytest.mark.parametrize("grid", [None, (7, 1), (1, 7)])
def test_spatial_mix_weighs_values_by_keys_and_distance(
    x: Tensor, grid: tuple[int, int] | None
) -> None:
    """Duan et al. 2024, eqs. 1 to 5, token by token and channel by channel."""
    mixer = Rwkv(DIM, HEADS, tokens=N, q_shift=grid is not None, grid=grid)
    prepare(mixer, 2)
    mixer.positions.copy_(torch.arange(N)[:, None] / N)
    y = torch.empty_like(x)
    for b in range(B):
        r = k = v = x[b]
        if grid is not None:
            other = shifted(x[b], *grid)
            r, k, v = (
                x[b] * mix[0] + other * (1 - mix[0])
                for mix in (mixer.mix_r, mixer.mix_k, mixer.mix_v)
            )
        r = torch.sigmoid(r @ mixer.receptance.weight.T)
        k, v = k @ mixer.key.weight.T, v @ mixer.value.weight.T
        for t, c in product(range(N), range(DIM)):
            w, u = mixer.decay[c] / N, mixer.first[c] / N
            weights = [(k[i, c] + (u if i == t else -(abs(t - i) - 1) * w)).exp() for i in range(N)]
            above = sum(weight * v[i, c] for i, weight in enumerate(weights))
            y[b, t, c] = r[t, c] * above / sum(weights)
    assert_close(mixer(x), y @ mixer.output.weight.T, rtol=1e-6, atol=1e-6)


def test_spatial_mix_has_the_parameters_of_the_papers_code() -> None:
    """`VRWKV_SpatialMix`: four D x D layers, decay and first, and three mixes."""
    sizes = MixerSizes(tokens=Size(196), dim=Size(192), heads=Size(3), grid=(Size(14), Size(14)))
    formula = RwkvSpec().formula(sizes, Size(1))
    assert formula.of_one(Measure.PARAMS) == 4 * 192**2 + 2 * 192 + 3 * 192
    assert formula.of_one(Measure.MACS) == 196 * 4 * 192**2
    # Two sums of the exponentials and two of the values with them.
    assert formula.uncounted()["cumulative sum"] == 4 * 196 * 192


@torch.no_grad()
@pytest.mark.parametrize("grid", [None, (7, 1)])
def test_channel_mix_is_a_gated_mlp_of_shifted_channels(
    x: Tensor, grid: tuple[int, int] | None
) -> None:
    """Duan et al. 2024, eq. 6."""
    mixer = ChannelMix(DIM, HEADS, channel_ratio=2, q_shift=grid is not None, grid=grid)
    prepare(mixer)
    y = torch.empty_like(x)
    for b in range(B):
        k = r = x[b]
        if grid is not None:
            other = shifted(x[b], *grid)
            k, r = (x[b] * mix[0] + other * (1 - mix[0]) for mix in (mixer.mix_k, mixer.mix_r))
        k = (k @ mixer.key.weight.T).clamp_min(0) ** 2
        y[b] = torch.sigmoid(r @ mixer.receptance.weight.T) * (k @ mixer.value.weight.T)
    assert_close(mixer(x), y)


def test_both_mixes_make_a_block_of_the_papers_code() -> None:
    """Count VRWKV-T by `VRWKV_SpatialMix`, `VRWKV_ChannelMix` and two norms of each of 12 blocks.

    Vision-RWKV's README prints 6.2 M and 1.2 G.
    """
    D, tokens = 192, 196
    sizes = MixerSizes(tokens=Size(196), dim=Size(D), heads=Size(3), grid=(Size(14), Size(14)))
    mixes = [spec.formula(sizes, Size(1)) for spec in (RwkvSpec(), ChannelMixSpec())]
    params = [formula.of_one(Measure.PARAMS) for formula in mixes]
    assert params == [4 * D**2 + 5 * D, 9 * D**2 + 2 * D]
    macs = [formula.of_one(Measure.MACS) for formula in mixes]
    assert macs == [tokens * 4 * D**2, tokens * 9 * D**2]
    patches, head = 768 * D, 1000 * D
    whole = 12 * (sum(params) + 4 * D) + (patches + D) + tokens * D + 4 * D + (head + 1000)
    assert round(whole / 10**6, 1) == 6.2
    assert round((12 * sum(macs) + tokens * patches + head) / 10**9, 1) == 1.2


@torch.no_grad()
def test_spatial_mix_does_not_overflow() -> None:
    mixer = Rwkv(DIM, HEADS, tokens=50, q_shift=False)
    x = torch.randn(B, 50, DIM)
    for _ in range(6):
        assert mixer(x).isfinite().all()
        x = 10 * x


# Mamba


def scanned(part: SelectiveScan, x: Tensor) -> Tensor:
    """Return Y of one direction for (N, E), by the recurrence on single numbers."""
    (tokens, width), states = x.shape, part.A_log.shape[1]
    rank, kernel, bias = part.dt_proj.in_features, part.conv1d.weight, part.conv1d.bias
    assert bias is not None
    reach = kernel.shape[2]
    padded = torch.cat([torch.zeros(reach - 1, width, dtype=torch.float64), x])
    windows = [padded[n : n + reach].T * kernel[:, 0] for n in range(tokens)]
    u = silu(torch.stack([window.sum(1) + bias for window in windows]))
    y, h = torch.empty_like(u), torch.zeros(width, states, dtype=torch.float64)
    for n in range(tokens):
        low, b, c = torch.split(part.x_proj.weight @ u[n], [rank, states, states])
        step = softplus(part.dt_proj(low))
        for e, s in product(range(width), range(states)):
            fade = (-step[e] * part.A_log[e, s].exp()).exp()
            h[e, s] = fade * h[e, s] + step[e] * b[s] * u[n, e]
        y[n] = h @ c + part.D * u[n]
    return y


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
def test_mamba_is_the_papers_recurrence(x: Tensor, causal: bool) -> None:
    """Gu and Dao 2023, eq. 2 and section 3; Zhu et al. 2024, algorithm 1."""
    x = x[..., :5]
    mixer = Mamba(5, 1, expand=2, state=3, dt_rank=2, conv_width=4, causal=causal)
    prepare(mixer)
    y = torch.empty_like(x)
    for b in range(B):
        inner, z = torch.split(x[b] @ mixer.in_proj.weight.T, 10, dim=1)
        total = scanned(mixer.ahead, inner)
        if mixer.behind is not None:
            total = (total + scanned(mixer.behind, inner.flip(0)).flip(0)) / 2
        y[b] = (total * silu(z)) @ mixer.out_proj.weight.T
    assert_close(mixer(x), y)


def test_mamba_has_the_parameters_of_vims_code() -> None:
    """`Mamba` of hustvl/Vim with `bimamba_type` v2, at the sizes of Vim-S."""
    D, S, rank, width = 384, 16, 24, 4
    E = 2 * D
    direction = (E * width + E) + E * (rank + 2 * S) + (rank * E + E) + E * S + E
    own = D * 2 * E + 2 * direction + E * D
    sizes = {"tokens": 197, "dim": D, "heads": 6}
    assert count(MambaSpec(dt_rank=rank), Measure.PARAMS, **sizes) == own
    one = count(MambaSpec(dt_rank=rank, causal=True), Measure.PARAMS, **sizes)
    assert one == own - direction


def test_the_scan_is_listed_and_not_counted() -> None:
    """B x N x E x S elements in each direction, beside the products of layers and convolutions."""
    sizes = MixerSizes(tokens=Size(N), dim=Size(DIM), heads=Size(HEADS))
    formula = MambaSpec(state=5, dt_rank=3, conv_width=4).formula(sizes, Size(B))
    E = 2 * DIM
    assert formula.uncounted()["scan"] == 2 * B * N * E * 5
    layers = B * N * (DIM * 2 * E + 2 * (E * (3 + 2 * 5) + 3 * E) + E * DIM)
    assert formula.of_one(Measure.MACS) == layers + 2 * B * (N + 4 - 1) * 4 * E


@pytest.mark.parametrize("mixer", ["diff", "retention", "gla"])
def test_heads_that_cannot_be_halved(mixer: str) -> None:
    with pytest.raises(SpecError) as refused:
        specify("layer", mixer=mixer, options={"dim": 15, "heads": 3})
    assert str(refused.value) == (
        f"dim 15 gives each of 3 heads 5 channels, which {mixer} cannot halve; give a multiple of 6"
    )
