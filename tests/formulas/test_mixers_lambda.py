"""Lambda layers with all their options, Linformer and hydra attention, from the equations.

The references are written from the papers token by token, with the modules' weights in double
precision. Sizes are odd and unequal, so that swapped axes fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from cases import for_each
from references import columns, prepare
from torch import Tensor, nn
from torch.testing import assert_close

import vitprof
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.hydra import Hydra as HydraSpec
from vitprof.formulas.mixers.lambda_layer import LambdaLayer as LambdaSpec
from vitprof.formulas.mixers.linformer import Linformer as LinformerSpec
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op, Parameter
from vitprof.modules.build import build_mixer
from vitprof.modules.mixers.attention import Attention
from vitprof.modules.mixers.hydra import Hydra
from vitprof.modules.mixers.lambda_layer import LambdaLayer
from vitprof.modules.mixers.linformer import Linformer
from vitprof.request.specs import specify
from vitprof.values.size import Size

B, HEADS, V = 2, 3, 5
DIM = HEADS * V
K = 11
GRIDS = [(7, None), (15, (3, 5)), (15, (5, 3)), (1, None), (1, (1, 1)), (3, (1, 3))]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def sizes(tokens: int, grid: tuple[int, int] | None = None) -> MixerSizes:
    return MixerSizes(
        tokens=Size(tokens, "N"),
        dim=Size(DIM, "D"),
        heads=Size(HEADS, "heads"),
        grid=None if grid is None else (Size(grid[0], "rows"), Size(grid[1], "columns")),
    )


def build(spec: Mixer, at: MixerSizes) -> Any:
    """Build the module with a distinct value for every weight and running statistic."""
    module = build_mixer(spec, at)
    prepare(module)
    return module


def tokens(count: int, batch: int = B) -> Tensor:
    return torch.randn(batch, count, DIM, dtype=torch.float64)


def normalised(norm: nn.BatchNorm1d, x: Tensor, start: int) -> Tensor:
    """Normalise `x` with the channels of a batch norm from `start` on."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    own = slice(start, start + x.shape[-1])
    deviation = (norm.running_var[own] + norm.eps).sqrt()
    return (x - norm.running_mean[own]) / deviation * norm.weight[own] + norm.bias[own]


def ops(spec: Mixer, at: MixerSizes) -> dict[str, Op]:
    return {
        node.path.removeprefix("mixer."): node.item
        for node in spec.formula(at, Size(B, "B")).walk(fold=True)
        if isinstance(node.item, Op)
    }


# Lambda layers.


def position_lambda(mixer: LambdaLayer, place: tuple[int, int], copy: int) -> Tensor:
    """Return the weights of a value per key channel, at (rows, columns) from the query."""
    if isinstance(mixer.position_lambdas, nn.Conv3d):
        kernel = mixer.position_lambdas.weight
        reach = kernel.shape[2] // 2
        if max(abs(place[0]), abs(place[1])) > reach:
            return torch.zeros(K, dtype=torch.float64)
        return kernel[:, copy, place[0] + reach, place[1] + reach, 0]
    rows, across = mixer.grid
    row, column = rows - 1 - place[0], across - 1 - place[1]
    return mixer.embeddings[row * (2 * across - 1) + column, :, copy]


@torch.no_grad()
@pytest.mark.parametrize("intra_depth", [1, 2, 3])
@for_each(
    "positions, count, grid",
    [
        *[(positions, *at) for positions in ("local", "global") for at in GRIDS],
        *[("local-2d", count, grid) for count, grid in GRIDS if grid is not None],
    ],
)
def test_lambda_applies_a_map_to_each_query(
    positions: str, count: int, grid: tuple[int, int] | None, intra_depth: int
) -> None:
    """Bello 2021, eqs. 1 to 3, with the intra-depth u that its pseudo-code sums over."""
    spec = LambdaSpec(key_depth=K, receptive_field=5, positions=positions, intra_depth=intra_depth)
    mixer = build(spec, sizes(count, grid))
    x = tokens(count)
    bias = getattr(mixer.position_lambdas, "bias", None)
    keys, values = HEADS * K, HEADS * K + intra_depth * K
    # Local, the tokens are a column in every model.
    across = grid[1] if grid is not None and positions != "local" else 1
    y = torch.empty_like(x)
    for b in range(B):
        q = normalised(mixer.norm_q, columns(mixer.qkv, x[b], 0, HEADS * K), 0)
        maps = torch.zeros(count, K, V, dtype=torch.float64)
        if bias is not None:
            maps += bias[:, None]
        for u in range(intra_depth):
            k = columns(mixer.qkv, x[b], keys + u * K, K)
            v = normalised(mixer.norm_v, columns(mixer.qkv, x[b], values + u * V, V), u * V)
            shares = k.exp() / k.exp().sum(0)  # softmax along the tokens
            for n, m in product(range(count), range(count)):
                place = m // across - n // across, m % across - n % across
                maps[n] += torch.outer(shares[m] + position_lambda(mixer, place, u), v[m])
        for n, head in product(range(count), range(HEADS)):
            y[b, n, head * V : (head + 1) * V] = maps[n].T @ q[n, head * K : (head + 1) * K]
    assert_close(mixer(x), y)


@torch.no_grad()
@pytest.mark.parametrize("intra_depth", [1, 2])
def test_global_positions_on_a_column_are_a_kernel_that_reaches_all_of_it(
    intra_depth: int,
) -> None:
    count = 7
    reach = count - 1
    options: dict[str, Any] = {"key_depth": K, "intra_depth": intra_depth}
    everywhere = build(LambdaSpec(positions="global", **options), sizes(count))
    nearby = build(LambdaSpec(receptive_field=2 * count - 1, **options), sizes(count))
    shared = {
        name: tensor for name, tensor in everywhere.state_dict().items() if name != "embeddings"
    }
    nearby.load_state_dict(shared, strict=False)
    conv = nearby.position_lambdas
    conv.bias.zero_()
    # A neighbour's place counts forward, an embedding's from the neighbour to the query.
    conv.weight[:, :, :, reach, 0] = everywhere.embeddings.flip(0).permute(1, 2, 0)
    x = tokens(count)
    assert_close(everywhere(x), nearby(x))


@torch.no_grad()
@pytest.mark.parametrize("positions", ["local", "global"])
def test_a_copy_whose_values_are_zero_changes_nothing(positions: str) -> None:
    at = sizes(15, (3, 5))
    options: dict[str, Any] = {"key_depth": K, "receptive_field": 3, "positions": positions}
    one, two = build(LambdaSpec(**options), at), build(LambdaSpec(intra_depth=2, **options), at)
    keys = HEADS * K
    values = keys + 2 * K
    kept = [*range(keys + K), *range(values, values + V)]  # the first key, the first value
    two.qkv.weight[kept], two.qkv.bias[kept] = one.qkv.weight, one.qkv.bias
    two.norm_q.load_state_dict(one.norm_q.state_dict())
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(two.norm_v, name)[:V] = getattr(one.norm_v, name)
    two.norm_v.weight[V:], two.norm_v.bias[V:] = 0, 0
    if positions == "local":
        two.position_lambdas.weight[:, :1] = one.position_lambdas.weight
        two.position_lambdas.bias[:] = one.position_lambdas.bias
    else:
        two.embeddings[:, :, :1] = one.embeddings
    x = tokens(15)
    assert_close(two(x), one(x))


@pytest.mark.parametrize("intra_depth", [1, 3])
@pytest.mark.parametrize(("count", "grid"), GRIDS)
def test_global_counts_by_hand(count: int, grid: tuple[int, int] | None, intra_depth: int) -> None:
    rows, across = grid or (count, 1)
    spec = LambdaSpec(key_depth=K, positions="global", intra_depth=intra_depth)
    at = sizes(count, grid)
    found = ops(spec, at)
    width = HEADS * K + K * intra_depth + V * intra_depth
    table = (2 * rows - 1) * (2 * across - 1) * K * intra_depth
    assert isinstance(found["embeddings"], Parameter)
    assert found["embeddings"].params.value == table
    # One K × N u matrix of each token by the N u values of V channels of each image.
    assert found["position_lambdas"].macs.value == B * count * K * count * intra_depth * V
    assert found["content_lambda"].macs.value == B * count * intra_depth * K * V
    total = spec.formula(at, Size(B, "B"))
    norms = 2 * HEADS * K + 2 * V * intra_depth
    assert total.total(Measure.PARAMS) == DIM * width + width + norms + table
    assert total.total(Measure.MACS) == B * count * (
        DIM * width
        + intra_depth * K * V
        + HEADS * K * V
        + K * count * intra_depth * V
        + HEADS * K * V
    )
    mixer = build(spec, at)
    assert sum(p.numel() for p in mixer.parameters()) == total.total(Measure.PARAMS)


def test_every_relative_position_has_an_embedding_that_learns() -> None:
    mixer = build(LambdaSpec(key_depth=K, positions="global", intra_depth=2), sizes(15, (3, 5)))
    (gradient,) = torch.autograd.grad(mixer(tokens(15)).square().sum(), mixer.embeddings)
    assert gradient.shape == (5 * 9, K, 2)
    assert gradient.abs().amin() > 0


def test_a_default_spells_no_copies() -> None:
    at = sizes(7)
    formulas = {path: op.macs.formula for path, op in ops(LambdaSpec(), at).items()}
    assert formulas["qkv"] == "B × N × in × out"
    assert formulas["content_lambda"] == "B × k × (N × v)"
    assert formulas["position_lambdas"] == "B × N × v × (r × r) × out"
    two = {path: op.macs.formula for path, op in ops(LambdaSpec(intra_depth=2), at).items()}
    assert two["content_lambda"] == "B × k × (N × u × v)"
    assert two["position_lambdas"] == "B × N × v × (r × r × u) × out"


def test_a_local_lambda_on_a_grid_costs_what_it_costs_on_a_line() -> None:
    at = sizes(15, (3, 5))
    found = ops(LambdaSpec(positions="local-2d"), at)["position_lambdas"]
    assert found.macs.formula == "B × rows × columns × v × (r × r) × out"
    assert found.macs.value == B * 3 * 5 * V * (9 * 9) * 16
    line = ops(LambdaSpec(), at)["position_lambdas"]
    assert (line.macs.value, line.params.value) == (found.macs.value, found.params.value)


def test_a_local_lambda_on_a_grid_is_refused_without_one() -> None:
    with pytest.raises(SpecError) as refused:
        specify("classifier", mixer="lambda", options={"positions": "local-2d"})
    assert str(refused.value) == (
        "lambda with positions local-2d mixes neighbours on a grid, and there is none, because "
        "the class token has no place on a grid; --pool mean leaves out the class token"
    )


# Linformer.


@torch.no_grad()
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("projection", [1, 4, 9])
@pytest.mark.parametrize("batch", [1, B])
def test_linformer_attends_to_mixtures_of_tokens(projection: int, shared: bool, batch: int) -> None:
    """Wang et al. 2020, eq. 7, with E and F the same for all heads."""
    count = 7
    mixer: Linformer = build(LinformerSpec(projection=projection, shared=shared), sizes(count))
    x = tokens(count, batch)
    e = (mixer.project if shared else mixer.project_k).weight.T
    f = (mixer.project if shared else mixer.project_v).weight.T
    assert e.shape == f.shape == (count, projection)
    y = torch.empty_like(x)
    for b, head in product(range(batch), range(HEADS)):
        q, k, v = (columns(mixer.qkv, x[b], part * DIM + head * V, V) for part in range(3))
        for n in range(count):
            scores = torch.stack(
                [
                    q[n] @ sum(e[m, p] * k[m] for m in range(count)) / V**0.5
                    for p in range(projection)
                ]
            )
            weights = scores.exp() / scores.exp().sum()
            y[b, n, head * V : (head + 1) * V] = sum(
                weights[p] * sum(f[m, p] * v[m] for m in range(count)) for p in range(projection)
            )
    assert_close(mixer(x), columns(mixer.fc_out, y, 0, DIM))


@torch.no_grad()
@pytest.mark.parametrize("shared", [False, True])
def test_linformer_that_keeps_every_token_is_attention(shared: bool) -> None:
    count = 7
    mixer = build(LinformerSpec(projection=count, shared=shared), sizes(count))
    for name, part in mixer.named_children():
        if name.startswith("project"):
            part.weight.copy_(torch.eye(count))
    attention = Attention(DIM, HEADS).double()
    attention.qkv.load_state_dict(mixer.qkv.state_dict())
    attention.fc_out.load_state_dict(mixer.fc_out.state_dict())
    x = tokens(count)
    assert_close(mixer(x), attention(x))


def test_linformer_counts_by_hand() -> None:
    count, p = 7, 4
    at = sizes(count)
    both = LinformerSpec(projection=p).formula(at, Size(B, "B"))
    one = LinformerSpec(projection=p, shared=True).formula(at, Size(B, "B"))
    layers = 4 * (DIM * DIM + DIM)
    assert both.total(Measure.PARAMS) == layers + 2 * count * p
    assert one.total(Measure.PARAMS) == layers + count * p
    # Sharing saves parameters; keys and values are still projected, and p scores used once.
    macs = B * (4 * count * DIM * DIM + 2 * DIM * count * p + 2 * count * p * DIM)
    assert both.total(Measure.MACS) == one.total(Measure.MACS) == macs


def test_linformer_needs_a_key() -> None:
    with pytest.raises(SpecError, match="projection 0 is out of range"):
        LinformerSpec(projection=0)


# Hydra attention.


@torch.no_grad()
def test_hydra_is_attention_with_a_head_a_channel() -> None:
    """Bolya et al. 2022: each channel attends by its own share of the cosine, unnormalised."""
    count = 7
    mixer: Hydra = build(HydraSpec(), sizes(count))
    x = tokens(count)
    y = torch.empty_like(x)
    for b in range(B):
        q, k, v = (columns(mixer.qkv, x[b], part * DIM, DIM) for part in range(3))
        q = torch.stack([token / (token @ token) ** 0.5 for token in q])
        k = torch.stack([token / (token @ token) ** 0.5 for token in k])
        for n, c in product(range(count), range(DIM)):
            y[b, n, c] = sum(q[n, c] * k[m, c] * v[m, c] for m in range(count))
    assert_close(mixer(x), columns(mixer.fc_out, y, 0, DIM))


@torch.no_grad()
def test_hydra_takes_no_notice_of_the_length_of_queries_and_keys() -> None:
    mixer = build(HydraSpec(), sizes(7))
    x = tokens(7)
    before = mixer(x)
    mixer.qkv.weight[: 2 * DIM] *= 3
    mixer.qkv.bias[: 2 * DIM] *= 3
    assert_close(mixer(x), before)


def test_hydra_of_zeros_is_finite() -> None:
    mixer = build(HydraSpec(), sizes(7))
    mixer.qkv.bias.data.zero_()
    assert mixer(torch.zeros(B, 7, DIM, dtype=torch.float64)).isfinite().all()


def test_hydra_counts_by_hand() -> None:
    count = 7
    found = ops(HydraSpec(), sizes(count))
    macs = {path: op.macs.value for path, op in found.items() if op.macs.value}
    assert macs == {"qkv": B * count * DIM * 3 * DIM, "fc_out": B * count * DIM * DIM}
    every = B * count * DIM
    assert {
        path: [(work, size.value) for work, size in op.uncounted]
        for path, op in found.items()
        if path not in macs
    } == {
        "query_norm": [("l2 norm", every)],
        "key_norm": [("l2 norm", every)],
        "key_values": [("multiply", every)],
        "sum": [("sum", every)],
        "output": [("multiply", every)],
    }


# Options that no test over all mixers covers: several copies, and both with global positions.


SPELLED: list[tuple[str, dict[str, object]]] = [
    ("lambda", {"intra_depth": 2}),
    ("lambda", {"intra_depth": 3, "positions": "global"}),
    ("lambda", {"positions": "global", "key_depth": 1}),
    ("lambda", {"positions": "local-2d", "intra_depth": 2}),
    ("linformer", {"shared": True, "projection": 5}),
    ("linformer", {"projection": 11}),
]
WORKLOADS: list[dict[str, Any]] = [
    {},
    {"dtype": "bf16"},
    {"dtype": "bf16", "autocast": True},
    {"dtype": "bf16", "autocast": True, "inference": True},
]

on_and_off_grid = pytest.mark.parametrize(
    ("count", "mixer", "options"),
    [
        (count, mixer, options)
        for (mixer, options), count in product(SPELLED, (9, 7))
        if count == 9 or options.get("positions") != "local-2d"
    ],
    ids=str,
)


def layer(count: int, mixer: str, options: dict[str, object]) -> Model:
    # With a narrow MLP the mixer makes the peak.
    bare = {"tokens": count, "dim": 12, "heads": 3, "mlp_ratio": "0.25"}
    return specify("layer", mixer=mixer, options={**bare, **options})


@pytest.mark.parametrize("device", ["meta", "cpu"])
@on_and_off_grid
def test_every_reading_is_explained(
    count: int, mixer: str, options: dict[str, object], device: str
) -> None:
    for train in (False, True):
        modes: Any = {"device": device, "train": train, "grad": train == (device == "meta")}
        report = vitprof.macs(layer(count, mixer, options), batch=3, **modes)
        assert report.unavailable == {}
        assert report.explained
