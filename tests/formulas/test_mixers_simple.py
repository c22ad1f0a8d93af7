"""Mixers without attention: identity, pooling, convolution, layers across tokens.

Each is compared with its paper's equation in loops, on a grid of unequal sides, and with the
parameters that the papers print for whole models.
"""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from references import prepare
from torch import Tensor
from torch.nn.functional import gelu
from torch.testing import assert_close

from vitprof.cli import run
from vitprof.errors import SpecError
from vitprof.formulas.layer import OF_FORWARD, Measure
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.conv import DepthwiseConv as ConvSpec
from vitprof.formulas.mixers.identity import Identity
from vitprof.formulas.mixers.pool import Pool as PoolSpec
from vitprof.formulas.mixers.random import RandomMixing as RandomSpec
from vitprof.formulas.mixers.sepconv import SeparableConv as SepConvSpec
from vitprof.formulas.mixers.token_linear import TokenLinear as TokenLinearSpec
from vitprof.formulas.mixers.token_mlp import TokenMlp as TokenMlpSpec
from vitprof.formulas.model import Model
from vitprof.formulas.totals import totals
from vitprof.modules.build import build_mixer
from vitprof.modules.mixers.conv import DepthwiseConv
from vitprof.modules.mixers.identity import IdentityMixer
from vitprof.modules.mixers.pool import Pool
from vitprof.modules.mixers.random import RandomMixing
from vitprof.modules.mixers.sepconv import SeparableConv
from vitprof.modules.mixers.token_linear import TokenLinear
from vitprof.modules.mixers.token_mlp import TokenMlp
from vitprof.request.specs import specify
from vitprof.values.size import Size

B, ROWS, COLUMNS, HEADS, DIM = 2, 3, 5, 3, 9
N, GRID = ROWS * COLUMNS, (ROWS, COLUMNS)
SIZES = MixerSizes(
    tokens=Size(N),
    dim=Size(DIM),
    heads=Size(HEADS),
    grid=(Size(ROWS), Size(COLUMNS)),
)
PLACES = [*product(range(ROWS), range(COLUMNS))]  # of the tokens, row by row


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, N, DIM, dtype=torch.float64)


def count(mixer: Mixer, sizes: MixerSizes, measure: Measure) -> int:
    return mixer.formula(sizes, Size(B)).total(measure)


def published(tokens: int, dim: int) -> MixerSizes:
    """Return sizes on a square grid; the published mixers have no heads."""
    side = Size(int(tokens**0.5))
    return MixerSizes(tokens=Size(tokens), dim=Size(dim), heads=Size(1), grid=(side, side))


# Identity


def test_identity_is_nothing(x: Tensor) -> None:
    assert IdentityMixer(DIM, HEADS)(x) is x
    tree = Identity().formula(SIZES, Size(B))
    assert (tree.children, tree.uncounted()) == ((), {})
    assert [tree.total(measure) for measure in OF_FORWARD] == [0, 0]


# Pooling


@pytest.mark.parametrize("size", [1, 3, 5, 13])
def test_pool_is_the_mean_of_the_neighbours_less_the_token(x: Tensor, size: int) -> None:
    """Yu et al. 2022, eq. 4, and `count_include_pad=False` as in their code."""
    y = torch.empty_like(x)
    for b, (n, (i, j)) in product(range(B), enumerate(PLACES)):
        there = [
            x[b, m] for m, (u, v) in enumerate(PLACES) if max(abs(u - i), abs(v - j)) <= size // 2
        ]
        y[b, n] = torch.stack(there).sum(0) / len(there) - x[b, n]
    assert_close(Pool(DIM, HEADS, grid=GRID, pool_size=size)(x), y)


def test_pool_of_equal_tokens_is_zero_up_to_the_edge() -> None:
    mixer = Pool(DIM, HEADS, grid=GRID)
    assert not mixer(torch.ones(B, N, DIM)).any()


def test_pool_counts_its_elements_and_nothing_else() -> None:
    tree = PoolSpec().formula(SIZES, Size(B))
    assert [tree.total(measure) for measure in OF_FORWARD] == [0, 0]
    assert tree.uncounted() == {"average pool": B * N * DIM, "subtract": B * N * DIM}


# Convolution


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 3, 7])
def test_conv_weighs_the_neighbours_of_each_channel(x: Tensor, size: int) -> None:
    """Trockman and Kolter 2022, eq. 2, without its GELU and its batch norm."""
    mixer, reach = DepthwiseConv(DIM, HEADS, grid=GRID, kernel_size=size), size // 2
    prepare(mixer)
    kernel, bias = mixer.conv.weight, mixer.conv.bias
    assert bias is not None
    y = torch.empty_like(x)
    for b, (n, (i, j)) in product(range(B), enumerate(PLACES)):
        y[b, n] = bias
        for m, (u, v) in enumerate(PLACES):
            if max(abs(u - i), abs(v - j)) <= reach:
                y[b, n] += kernel[:, 0, u - i + reach, v - j + reach] * x[b, m]
    assert_close(mixer(x), y)


@pytest.mark.parametrize("size", [1, 3, 7])
@torch.no_grad()
def test_sepconv_expands_weighs_the_neighbours_and_projects(x: Tensor, size: int) -> None:
    """Yu et al. 2022, MetaFormer Baselines for Vision, eqs. 4 and 5."""
    mixer = SeparableConv(dim=DIM, heads=HEADS, grid=GRID, expand=2, sepconv_kernel=size)
    prepare(mixer)
    reach, act = size // 2, mixer.act
    hidden = x @ mixer.fc1.weight.T
    hidden = act.scale * hidden.clamp(min=0) ** 2 + act.bias
    mixed = torch.zeros_like(hidden)
    for b, (n, (i, j)) in product(range(B), enumerate(PLACES)):
        for m, (u, v) in enumerate(PLACES):
            if max(abs(u - i), abs(v - j)) <= reach:
                kernel = mixer.conv.weight[:, 0, u - i + reach, v - j + reach]
                mixed[b, n] += kernel * hidden[b, m]
    assert_close(mixer(x), mixed @ mixer.fc2.weight.T)


def test_sepconv_counts_two_layers_and_a_kernel_at_each_place() -> None:
    E = 3 * DIM
    mixer = SepConvSpec(expand=3, sepconv_kernel=5)
    assert count(mixer, SIZES, Measure.PARAMS) == 2 * DIM * E + 5 * 5 * E + 2
    assert count(mixer, SIZES, Measure.MACS) == B * N * (2 * DIM * E + 5 * 5 * E)


@torch.no_grad()
def test_random_mixing_averages_tokens_with_weights_that_are_not_trained(x: Tensor) -> None:
    """Yu et al. 2022, MetaFormer Baselines for Vision, eq. 3."""
    mixer = RandomMixing(dim=DIM, heads=HEADS, tokens=N).double()
    assert [one.requires_grad for one in mixer.parameters()] == [False]
    assert_close(mixer.matrix.sum(1), torch.ones(N, dtype=torch.float64))  # a softmax of each row
    assert (mixer.matrix > 0).all()
    y = torch.zeros_like(x)
    for n, m in product(range(N), range(N)):
        y[:, n] += mixer.matrix[n, m] * x[:, m]
    assert_close(mixer(x), y)


def test_random_mixing_has_a_matrix_of_tokens_and_trains_none() -> None:
    tree = RandomSpec().formula(SIZES, Size(B))
    assert totals(tree, Measure.PARAMS)["trainable"] == 0
    assert tree.total(Measure.PARAMS) == N * N
    assert tree.total(Measure.MACS) == B * N * N * DIM


def test_convmixer_as_published() -> None:
    """Their parameter count, h (d (k² + h + 6) + 3 p² + classes + 3) + classes, is 51.6 M."""
    h, d, k, p, classes = 1536, 20, 9, 7, 1000
    depthwise = count(ConvSpec(kernel_size=k), published(32**2, h), Measure.PARAMS)
    assert depthwise == h * k * k + h
    pointwise, norms = h * h + h, 2 * 2 * h
    around = (3 * p * p * h + h) + 2 * h + (h * classes + classes)
    total = around + d * (depthwise + pointwise + norms)
    assert total == h * (d * (k * k + h + 6) + 3 * p * p + classes + 3) + classes
    assert round(total / 10**6, 1) == 51.6


def test_conv_counts_a_kernel_at_each_place() -> None:
    assert count(ConvSpec(kernel_size=7), SIZES, Measure.MACS) == B * N * 7 * 7 * DIM
    assert ConvSpec().formula(SIZES, Size(B)).uncounted() == {"bias": B * N * DIM}


@pytest.mark.parametrize(
    ("mixer", "reach"),
    [(ConvSpec(kernel_size=3), 1), (PoolSpec(pool_size=5), 2)],
    ids=["conv", "pool"],
)
def test_a_token_on_a_grid_hears_its_neighbours(mixer: Mixer, reach: int, x: Tensor) -> None:
    module = build_mixer(mixer, SIZES)
    prepare(module)
    x.requires_grad_()
    y: Tensor = module(x)
    for n, (i, j) in enumerate(PLACES):
        for channel in range(DIM):
            (gradient,) = torch.autograd.grad(y[0, n, channel], x, retain_graph=True)
            heard = {(b, *PLACES[m], c) for b, m, c in gradient.nonzero().tolist()}
            assert heard == {
                (0, u, v, channel) for u, v in PLACES if max(abs(u - i), abs(v - j)) <= reach
            }


# Layers across tokens


@torch.no_grad()
@pytest.mark.parametrize("width", [1, 4, 31])
def test_token_mlp_is_an_mlp_of_each_channel(x: Tensor, width: int) -> None:
    """Tolstikhin et al. 2021, eq. 1: U[:, i] = X[:, i] + W2 gelu(W1 X[:, i])."""
    mixer = TokenMlp(DIM, HEADS, tokens=N, token_hidden=width)
    prepare(mixer)
    y = torch.empty_like(x)
    for b, i in product(range(B), range(DIM)):
        hidden = gelu(mixer.fc1.weight @ x[b, :, i] + mixer.fc1.bias)
        assert hidden.shape == (width,)
        y[b, :, i] = mixer.fc2.weight @ hidden + mixer.fc2.bias
    assert_close(mixer(x), y)


@torch.no_grad()
def test_token_linear_is_a_matrix_from_the_left(x: Tensor) -> None:
    """Touvron et al. 2021, eq. 2: Z = X + (A X')' on tokens as columns."""
    mixer = TokenLinear(DIM, HEADS, tokens=N)
    prepare(mixer)
    y = torch.stack([mixer.fc.weight @ x[b] + mixer.fc.bias[:, None] for b in range(B)])
    assert_close(mixer(x), y)


@pytest.mark.parametrize(
    ("given", "dim", "width"), [(0, 8, 4), (0, 9, 5), (0, 1, 1), (3, 8, 3), (1, 1, 1)]
)
def test_token_mlp_is_half_as_wide_as_a_token_or_as_told(given: int, dim: int, width: int) -> None:
    sizes, mixer = published(N, dim), TokenMlpSpec(token_hidden=given)
    assert mixer.hidden(sizes).value == width
    module: Any = build_mixer(mixer, sizes)
    assert (module.fc1.in_features, module.fc1.out_features) == (N, width)
    assert (module.fc2.in_features, module.fc2.out_features) == (width, N)
    assert count(mixer, sizes, Measure.PARAMS) == N * width + width + width * N + N
    assert count(mixer, sizes, Measure.MACS) == B * 2 * dim * N * width


@pytest.mark.parametrize("option", ["dim", "token_hidden"])
def test_token_mlp_is_counted_at_many_widths_at_once(option: str) -> None:
    values = [4, 12, 20]
    base: dict[str, object] = {"tokens": N, "heads": 1, "dim": 8}
    one_by_one = [
        specify("layer", mixer="token-mlp", options={**base, option: value}) for value in values
    ]
    spec = specify("layer", mixer="token-mlp", options=base)
    sweep: Any = {option: np.array(values)}
    swept = (
        spec.substitute(**sweep)
        if option == "dim"
        else spec.substitute(mixer=spec.mixer.substitute(**sweep))
    )
    for measure in OF_FORWARD:
        totals = [one.formula(3).total(measure) for one in one_by_one]
        found: Any = swept.formula(3).total(measure)
        assert list(found) == totals
        assert len({*totals}) == len(values)


# Of tokens N, dim D and the MLP's 4 D: two linear layers and two norms.
def channel_mlp(dim: int) -> int:
    return (dim * 4 * dim + 4 * dim) + (4 * dim * dim + dim)


@pytest.mark.parametrize(
    ("patch", "dim", "depth", "millions"),
    [(16, 768, 12, 59), (32, 768, 12, 60), (16, 512, 8, 18), (32, 512, 8, 19)],
    ids=["B/16", "B/32", "S/16", "S/32"],
)
def test_mlp_mixer_as_published(patch: int, dim: int, depth: int, millions: int) -> None:
    """Tolstikhin et al. 2021, table 1: D_S 384 and 256, half of D."""
    tokens, classes = (224 // patch) ** 2, 1000
    block = count(TokenMlpSpec(), published(tokens, dim), Measure.PARAMS)
    block += 2 * 2 * dim + channel_mlp(dim)
    total = (3 * patch * patch * dim + dim) + depth * block + 2 * dim + dim * classes + classes
    assert total // 10**6 == millions


def test_resmlp_as_published() -> None:
    """Touvron et al. 2021: ResMLP-S24 of 30.0 M, an affine map before and a scale after each."""
    tokens, dim, depth, classes = 14**2, 384, 24, 1000
    block = count(TokenLinearSpec(), published(tokens, dim), Measure.PARAMS)
    assert block == tokens * tokens + tokens
    block += channel_mlp(dim) + 2 * 2 * dim + 2 * dim
    total = (3 * 16 * 16 * dim + dim) + depth * block + 2 * dim + dim * classes + classes
    assert round(total / 10**6, 1) == 30.0


# Refused options


@pytest.mark.parametrize(
    ("model", "options", "why"),
    [
        ("mae", {}, "scattered over the image"),
        ("classifier", {"pool": "token"}, "the class token has no place on a grid; --pool mean"),
        ("layer", {"tokens": 7}, "7 tokens are not a square"),
    ],
)
@pytest.mark.parametrize("mixer", ["conv", "pool", "sepconv"])
def test_there_has_to_be_a_grid(
    model: str, mixer: str, options: dict[str, object], why: str
) -> None:
    with pytest.raises(SpecError, match=f"^{mixer} mixes neighbours on a grid.*{why}"):
        specify(model, mixer=mixer, options=options)


@pytest.mark.parametrize(
    ("mixer", "option", "value", "why"),
    [
        ("conv", "kernel_size", 4, "kernel size 4 is even"),
        ("conv", "kernel_size", 0, "kernel size 0 is out of range"),
        ("pool", "pool_size", 2, "pool size 2 is even"),
        ("pool", "pool_size", -1, "pool size -1 is out of range"),
        ("token-mlp", "token_hidden", -1, "token hidden -1 is out of range"),
    ],
)
def test_sizes_that_are_none(mixer: str, option: str, value: int, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        specify("layer", mixer=mixer, options={"tokens": 9, option: value})


# Mixers without parameters or MACs


@pytest.mark.parametrize("mixer", ["identity", "pool"])
def test_model_without_parameters_in_its_mixer(mixer: str) -> None:
    spec: Model = specify(
        "layer", mixer=mixer, options={"tokens": 9, "dim": DIM, "heads": HEADS, "mlp_ratio": "2"}
    )
    hidden = int(DIM * Fraction(2))
    params = 2 * 2 * DIM + (DIM * hidden + hidden) + (hidden * DIM + DIM)
    assert spec.formula().total(Measure.PARAMS) == params
    assert spec.formula().total(Measure.MACS) == 9 * 2 * DIM * hidden


@pytest.mark.parametrize("mixer", ["identity", "pool"])
def test_expectations_of_a_mixer_without_parameters(
    mixer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["mixers", "--format=json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["entries"]}
    assert (listed[mixer]["params"], listed[mixer]["macs"]) == ("0", "0")
    path = str(tmp_path / "counts.toml")
    words = ["check", path, "--model=layer", f"--mixer={mixer}", "--tokens=9"]
    assert run([*words, "--write"]) == 0
    assert run(["check", path]) == 0
