"""Each mixer's output against its paper's equations, computed token by token.

The references are loops written from the papers, with the modules' weights. Sizes are odd and
unequal, so that swapped axes fail.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from cases import for_each
from references import columns, prepare
from spellings import MIXER_SIZES, variants
from torch import Tensor, nn
from torch.testing import assert_close

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models.encoder_layer import EncoderLayer as LayerSpec
from vitprof.formulas.totals import totals
from vitprof.modules.block import EncoderLayer
from vitprof.modules.build import build_mixer
from vitprof.modules.mixers.attention import Attention
from vitprof.modules.mixers.lambda_layer import LambdaLayer
from vitprof.modules.mixers.linear_attention import LinearAttention
from vitprof.request.specs import specify
from vitprof.values.size import Size

B, N, HEADS, HEAD_DIM = 2, 7, 3, 10
DIM = HEADS * HEAD_DIM
SIZES = MixerSizes(tokens=Size(N), dim=Size(DIM), heads=Size(HEADS))


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, N, DIM, dtype=torch.float64)


@pytest.mark.parametrize("fused", [False, True])
def test_attention_is_torchs(x: Tensor, fused: bool) -> None:
    mixer = Attention(DIM, HEADS, fused=fused)
    prepare(mixer)
    reference = nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype=torch.float64)
    reference.load_state_dict(
        {
            "in_proj_weight": mixer.qkv.weight,
            "in_proj_bias": mixer.qkv.bias,
            "out_proj.weight": mixer.fc_out.weight,
            "out_proj.bias": mixer.fc_out.bias,
        }
    )
    assert_close(mixer(x), reference(x, x, x)[0])


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_block_is_torchs_encoder_layer(x: Tensor, activation: str) -> None:
    block = EncoderLayer(LayerSpec(dim=DIM, heads=HEADS, tokens=N, activation=activation))
    prepare(block)
    reference = nn.TransformerEncoderLayer(
        DIM,
        HEADS,
        dim_feedforward=4 * DIM,
        dropout=0,
        activation=activation,
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
        dtype=torch.float64,
    )
    names = {
        "norm1.": "norm1.",
        "mixer.qkv.": "self_attn.in_proj_",
        "mixer.fc_out.": "self_attn.out_proj.",
        "norm2.": "norm2.",
        "mlp.fc1.": "linear1.",
        "mlp.fc2.": "linear2.",
    }
    weights = block.state_dict()
    reference.load_state_dict(
        {
            theirs + kind: weights[ours + kind]
            for ours, theirs in names.items()
            for kind in ("weight", "bias")
        }
    )
    assert_close(block(x), reference(x))


def phi(x: Tensor) -> Tensor:
    """Return elu(x) + 1."""
    return torch.where(x > 0, x + 1, x.exp())


@torch.no_grad()
def test_linear_attention_is_a_weighted_mean_of_values(x: Tensor) -> None:
    """Katharopoulos et al. 2020, eq. 4: before the sums are rearranged into a state."""
    mixer = LinearAttention(DIM, HEADS)
    prepare(mixer)
    y = torch.empty_like(x)
    for b, head in product(range(B), range(HEADS)):
        first = head * HEAD_DIM
        q, k, v = (columns(mixer.qkv, x[b], part * DIM + first, HEAD_DIM) for part in range(3))
        for n in range(N):
            weights = torch.stack([phi(q[n]) @ phi(k[m]) for m in range(N)])
            y[b, n, first : first + HEAD_DIM] = weights @ v / weights.sum()
    assert_close(mixer(x), columns(mixer.fc_out, y, 0, DIM))


def normalised(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    return (x - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias


@torch.no_grad()
@pytest.mark.parametrize("receptive_field", [1, 5, 2 * N + 1])
def test_lambda_layer_applies_a_map_to_each_query(x: Tensor, receptive_field: int) -> None:
    """Bello 2021, section 3.1; the position lambdas as the convolution of section 3.2."""
    K, V, reach = 11, HEAD_DIM, receptive_field // 2
    mixer = LambdaLayer(DIM, HEADS, key_depth=K, receptive_field=receptive_field)
    prepare(mixer)
    convolution = mixer.position_lambdas
    assert isinstance(convolution, nn.Conv3d)
    kernel, bias = convolution.weight, convolution.bias
    assert bias is not None
    y = torch.empty_like(x)
    for b in range(B):
        q = normalised(mixer.norm_q, columns(mixer.qkv, x[b], 0, HEADS * K))
        k = columns(mixer.qkv, x[b], HEADS * K, K)
        v = normalised(mixer.norm_v, columns(mixer.qkv, x[b], HEADS * K + K, V))
        shares = k.exp() / k.exp().sum(0)  # softmax along the tokens
        for n in range(N):
            lambda_n = bias[:, None].expand(K, V)
            for m in range(N):
                lambda_n = lambda_n + torch.outer(shares[m], v[m])
                if abs(m - n) <= reach:
                    # On an N × 1 map neighbours differ in the first axis alone.
                    lambda_n = lambda_n + torch.outer(kernel[:, 0, m - n + reach, reach, 0], v[m])
            for head in range(HEADS):
                query = q[n, head * K : (head + 1) * K]
                y[b, n, head * V : (head + 1) * V] = lambda_n.T @ query
    assert_close(mixer(x), y)


def test_lambda_kernel_touches_data_in_its_central_column_alone(x: Tensor) -> None:
    mixer = LambdaLayer(DIM, HEADS, key_depth=11, receptive_field=5)
    prepare(mixer)
    assert isinstance(mixer.position_lambdas, nn.Conv3d)
    weight = mixer.position_lambdas.weight
    (gradient,) = torch.autograd.grad(mixer(x).square().sum(), weight)
    touched = gradient.abs().amax(dim=(0, 1, 2, 4)) > 0
    assert touched.tolist() == [False, False, True, False, False]


# Mixers of some tokens.
LOCAL = {"sepconv", "identity", "pool", "conv", "window", "topk", "channel-mix"}


def specs() -> Iterator[Mixer]:
    """Return every registered mixer with each of its options; what blocks share is for a model."""
    for mixer in MIXERS.values():
        sizes = {name: size for name, size in MIXER_SIZES.items() if name in mixer.declared()}
        for variant in variants(mixer):
            options: Any = {**sizes, **dict(variant)}
            made = mixer(**options)
            if not made.shares:
                yield made


every_mixer = for_each("spec", specs())


GRID = replace(SIZES, tokens=Size(9), grid=(Size(3), Size(3)))


def sizes_of(spec: Mixer) -> MixerSizes:
    """Return sizes with seven tokens, or nine on a grid if the mixer needs those."""
    if spec.name == "sra":  # several squares of three, of which keys are made
        return replace(GRID, tokens=Size(18), grid=(Size(3), Size(6)))
    if spec.needs_patches:  # by which an even number of channels is turned
        return replace(GRID, dim=Size(4 * HEADS))
    return GRID if spec.needs_grid or spec.divisor > 1 else SIZES


def build(spec: Mixer) -> nn.Module:
    module = build_mixer(spec, sizes_of(spec))
    prepare(module)
    return module


def given_to(spec: Mixer) -> Tensor:
    torch.manual_seed(0)
    sizes = sizes_of(spec)
    return torch.randn(B, sizes.tokens.value, sizes.dim.value, dtype=torch.float64)


@every_mixer
def test_gradients_reach_every_channel(spec: Mixer) -> None:
    mixer, given = build(spec), given_to(spec)
    parameters = {name: one for name, one in mixer.named_parameters() if one.requires_grad}
    if not parameters:
        assert totals(spec.formula(sizes_of(spec), Size(B)), Measure.PARAMS)["trainable"] == 0
        return
    gradients = torch.autograd.grad(mixer(given).square().sum(), list(parameters.values()))
    for name, gradient in zip(parameters, gradients, strict=True):
        # A softmax is invariant to a constant added to all its scores.
        if name in ("mix_scores.bias", "relative.fc2.bias"):
            assert gradient.abs().max() < 1e-9
            continue
        # In a vector some elements may be zero: a softmax is invariant to the bias of its keys.
        channels = gradient.flatten(1) if gradient.dim() > 1 else gradient[None]
        greatest = channels.abs().amax(dim=1)
        # A ReLU of the MLP of positions may be off at every offset.
        assert (greatest.max() if name.startswith("relative.fc1") else greatest.min()) > 1e-9, name


@every_mixer
def test_a_token_hears_the_tokens_of_its_image_and_none_of_another(spec: Mixer) -> None:
    given = given_to(spec).requires_grad_()
    y: Tensor = build(spec)(given)
    assert y.shape == given.shape
    for n in range(given.shape[1]):
        (gradient,) = torch.autograd.grad(y[0, n].square().sum(), given, retain_graph=True)
        heard = gradient[0].any(dim=-1)
        if getattr(spec, "causal", False):
            assert heard.tolist() == [m <= n for m in range(len(heard))]
        else:
            assert heard[n] if spec.name in LOCAL else heard.all()
        assert not gradient[1].any()


@every_mixer
def test_weights_move_to_another_one(spec: Mixer) -> None:
    given, mixer, other = given_to(spec), build(spec), build(spec)
    assert torch.equal(other(given), mixer(given)) == (not list(mixer.parameters()))
    other.load_state_dict(mixer.state_dict())
    assert torch.equal(other(given), mixer(given))


@every_mixer
def test_a_mixer_can_be_pickled(spec: Mixer) -> None:
    mixer, given = build(spec), given_to(spec)
    assert torch.equal(pickle.loads(pickle.dumps(mixer))(given), mixer(given))


@every_mixer
def test_a_mixer_can_be_subclassed(spec: Mixer) -> None:
    mixer, given = build(spec), given_to(spec)
    plain: Any = type(mixer)

    class Doubled(plain):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            doubled: Tensor = 2 * super().forward(x)
            return doubled

    doubled = Doubled(**spec.arguments(sizes_of(spec))).double().eval()
    doubled.load_state_dict(mixer.state_dict())
    assert torch.equal(doubled(given), 2 * mixer(given))


def small(name: str, **more: Any) -> Mixer:
    """Build a mixer with small numeric options."""
    own = MIXERS[name].declared()
    options: Any = {option: size for option, size in MIXER_SIZES.items() if option in own}
    return MIXERS[name](**options, **more)


PROJECTING = [
    name
    for name in MIXERS
    if any(node.path == "mixer.qkv" for node in small(name).formula(GRID, Size(B)).walk(fold=True))
]
# To how many channels, of queries, keys and values.
QKV_WIDTHS = dict.fromkeys(
    ("attn", "linear", "performer", "nystrom", "linformer", "hydra", "xca", "window", "aft"),
    3 * DIM,
) | {"diff": 3 * DIM, "topk": 3 * DIM, "lambda": HEADS * 2 + 2 + HEAD_DIM}


def with_qkv_bias(name: str, *, on: bool) -> Mixer:
    return small(name, qkv_bias=on)


def test_every_mixer_with_queries_keys_and_values_has_a_say_in_their_bias() -> None:
    assert QKV_WIDTHS.keys() == {*PROJECTING}
    assert len({MIXERS[name].declared()["qkv_bias"] for name in PROJECTING}) == 1


@pytest.mark.parametrize("name", QKV_WIDTHS)
def test_without_a_bias_there_are_so_many_parameters_less(name: str) -> None:
    biased, bare = (with_qkv_bias(name, on=on) for on in (True, False))
    sizes = sizes_of(bare)
    params = [spec.formula(sizes, Size(B)).total(Measure.PARAMS) for spec in (biased, bare)]
    assert params[0] - params[1] == QKV_WIDTHS[name]
    macs = [spec.formula(sizes, Size(B)).total(Measure.MACS) for spec in (biased, bare)]
    assert macs[0] == macs[1]
    module = build(bare)
    assert sum(parameter.numel() for parameter in module.parameters()) == params[1]


@pytest.mark.parametrize("name", QKV_WIDTHS)
def test_no_bias_is_a_bias_of_zero(name: str) -> None:
    biased, bare = (with_qkv_bias(name, on=on) for on in (True, False))
    torch.manual_seed(0)
    module: Any = build(biased)
    nn.init.zeros_(module.qkv.bias)
    other = build(bare)
    weights = module.state_dict()
    del weights["qkv.bias"]
    other.load_state_dict(weights)
    x = torch.randn(B, sizes_of(bare).tokens.value, DIM, dtype=torch.float64)
    assert_close(other(x), module(x))


@pytest.mark.parametrize("name", [name for name, mixer in MIXERS.items() if mixer().needs_grid])
def test_a_mixer_on_a_grid_says_where_there_is_none(name: str) -> None:
    with pytest.raises(SpecError, match="the patches that the encoder of mae keeps are scattered"):
        specify("mae", mixer=name)
    with pytest.raises(SpecError, match="the class token has no place on a grid; --pool mean lea"):
        specify("classifier", mixer=name)
    with pytest.raises(SpecError, match="50 tokens are not a square"):
        specify("layer", mixer=name)
