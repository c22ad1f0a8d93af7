"""Modules of the models against naive references: norms, MLPs, blocks, patches, heads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from math import cos, erf, exp, sin, sqrt
from typing import Any

import pytest
import torch
from references import columns, prepare
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from vitprof.formulas.block import BLOCKS as ARRANGEMENTS
from vitprof.formulas.models.classifier import Classifier
from vitprof.formulas.models.encoder_layer import EncoderLayer
from vitprof.formulas.models.mae import MaskedAutoencoder
from vitprof.formulas.parts.activations import ACTIVATIONS
from vitprof.formulas.parts.mlps import MlpOptions
from vitprof.formulas.parts.norms import NORMS
from vitprof.formulas.run import Run, count
from vitprof.formulas.tensor import Tensor as PaperTensor
from vitprof.modules.block import EncoderLayer as EncoderLayerModule
from vitprof.modules.drop_path import DropPath
from vitprof.modules.models.classifier import VisionTransformer
from vitprof.modules.models.mae import MaskedAutoencoderViT
from vitprof.modules.parts.activations import SquaredReLU, StarReLU
from vitprof.modules.parts.mlps import GatedLinearUnit, Pointwise, make_mlp
from vitprof.modules.parts.norms import NORMS as NORM_MODULES
from vitprof.modules.parts.norms import Affine, LayerScale, TokenBatchNorm
from vitprof.modules.patches import sincos_positions
from vitprof.values.size import Size

Options = dict[str, Any]

B, N, D, h, H = 5, 7, 12, 3, 30  # images, tokens, channels, heads, and channels of the MLP
K = 7  # classes


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, N, D, dtype=torch.float64)


NAIVE: dict[str, Callable[[float], float]] = {
    "gelu": lambda z: z * (1 + erf(z / sqrt(2))) / 2,
    "relu": lambda z: max(z, 0.0),
    "silu": lambda z: z / (1 + exp(-z)),
    "quick-gelu": lambda z: z / (1 + exp(-1.702 * z)),
    "squared-relu": lambda z: max(z, 0.0) ** 2,
    "star-relu": lambda z: 1.3 * max(z, 0.0) ** 2 + 0.7,
}


def set_star(activation: nn.Module) -> None:
    """Give a StarReLU the scale and the bias of its reference."""
    if isinstance(activation, StarReLU):
        activation.scale.fill_(1.3)
        activation.bias.fill_(0.7)


def test_a_star_relu_begins_as_a_squared_relu(x: Tensor) -> None:
    assert_close(StarReLU().double()(x), SquaredReLU()(x))


def test_every_activation_has_a_reference() -> None:
    assert NAIVE.keys() == set(ACTIVATIONS)


@pytest.mark.parametrize("activation", NAIVE)
@torch.no_grad()
def test_a_gated_mlp_multiplies_its_halves(x: Tensor, activation: str) -> None:
    mlp = GatedLinearUnit(MlpOptions(activation=activation), D, H)
    prepare(mlp)
    set_star(mlp.act)
    gate, value = columns(mlp.fc1, x, 0, H), columns(mlp.fc1, x, H, H)
    gated = torch.empty(B, N, H, dtype=torch.float64)
    for b, token, i in product(range(B), range(N), range(H)):
        act = NAIVE[activation](gate[b, token, i].item())
        gated[b, token, i] = act * value[b, token, i].item()
    assert_close(mlp(x), columns(mlp.fc2, gated, 0, D))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["plain", "gated"])
@torch.no_grad()
def test_a_norm_within_an_mlp_is_of_its_hidden_channels(
    x: Tensor, kind: str, bias: bool, norm: str
) -> None:
    """Fang et al. 2023, EVA-02, section 2.1, and the `Mlp` of timm."""
    mlp: Any = make_mlp(MlpOptions(mlp=kind, mlp_norm=True, mlp_bias=bias, norm=norm), D, H)
    prepare(mlp)
    assert (mlp.fc1.bias is not None, mlp.fc2.bias is not None) == (bias, bias)
    first = functional.linear(x, mlp.fc1.weight, mlp.fc1.bias)
    hidden = functional.gelu(first[..., :H])
    if kind == "gated":
        hidden = hidden * first[..., H:]
    assert mlp.norm.weight.shape == (H,)
    assert_close(mlp(x), functional.linear(mlp.norm(hidden), mlp.fc2.weight, mlp.fc2.bias))


ARRANGED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "pre": lambda b, x: (y := x + b.mixer(b.norm1(x))) + b.mlp(b.norm2(y)),
    "post": lambda b, x: b.norm2((y := b.norm1(x + b.mixer(x))) + b.mlp(y)),
    "res-post": lambda b, x: (y := x + b.norm1(b.mixer(x))) + b.norm2(b.mlp(y)),
    "parallel": lambda b, x: x + b.mixer(b.norm1(x)) + b.mlp(b.norm1(x)),
    "single": lambda b, x: x + b.mlp(b.norm2(b.mixer(b.norm1(x)))),
    "inner": lambda b, x: x + b.mlp(b.norm1(b.mixer(x))),
    "conv": lambda b, x: b.norm2(b.mlp(x + b.norm1(functional.gelu(b.mixer(x))))),
}


@pytest.mark.parametrize("block", ARRANGEMENTS)
@torch.no_grad()
def test_norms_and_residuals_are_arranged_as_the_papers_say(x: Tensor, block: str) -> None:
    spec = EncoderLayer(tokens=N, dim=D, heads=h, activation="gelu", block=block)
    module = EncoderLayerModule(spec)
    prepare(module)
    assert_close(module(x), ARRANGED[block](module, x))


@pytest.mark.parametrize("block", ["pre", "res-post"])
@torch.no_grad()
def test_branches_read_the_same_tokens_and_are_summed(x: Tensor, block: str) -> None:
    sizes: Options = {"tokens": N, "dim": D, "heads": h, "activation": "gelu", "block": block}
    module: Any = EncoderLayerModule(EncoderLayer(**sizes, branches=3, layer_scale=True))
    prepare(module)
    y = x
    for one, branches in (("mixer", module.mixers), ("mlp", module.mlps)):
        summed = y.clone()
        for branch in branches:
            part, norm, gain = getattr(branch, one), branch.norm, branch.ls.gamma
            summed += gain * (part(norm(y)) if block == "pre" else norm(part(y)))
        y = summed
    assert len(module.mixers) == len(module.mlps) == 3
    assert_close(module(x), y)


@pytest.mark.parametrize("activation", NAIVE)
@torch.no_grad()
def test_a_linear_mlp_is_one_layer_and_its_activation(x: Tensor, activation: str) -> None:
    mlp = Pointwise(MlpOptions(activation=activation), D, H)
    prepare(mlp)
    set_star(mlp.act)
    assert_close(mlp(x), columns(mlp.fc1, x, 0, D).apply_(NAIVE[activation]))


@torch.no_grad()
def test_affine_is_a_gain_and_a_bias_of_each_channel(x: Tensor) -> None:
    affine = Affine(D).double()
    assert_close(affine(x), x)  # at first
    prepare(affine)
    y = torch.empty_like(x)
    for c in range(D):
        y[:, :, c] = x[:, :, c] * affine.weight[c].item() + affine.bias[c].item()
    assert_close(affine(x), y)


SCALED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "pre": lambda b, x: (
        (y := x * b.rs1.gamma + b.mixer(b.norm1(x))) * b.rs2.gamma + b.mlp(b.norm2(y))
    ),
    "post": lambda b, x: b.norm2(
        (y := b.norm1(x * b.rs1.gamma + b.mixer(x))) * b.rs2.gamma + b.mlp(y)
    ),
    "parallel": lambda b, x: (
        (x * b.rs1.gamma + b.mixer(b.norm1(x))) * b.rs2.gamma + b.mlp(b.norm1(x))
    ),
    "res-post": lambda b, x: (
        (y := x * b.rs1.gamma + b.norm1(b.mixer(x))) * b.rs2.gamma + b.norm2(b.mlp(y))
    ),
    "single": lambda b, x: x * b.rs1.gamma + b.mlp(b.norm2(b.mixer(b.norm1(x)))),
    "inner": lambda b, x: x * b.rs1.gamma + b.mlp(b.norm1(b.mixer(x))),
    "conv": lambda b, x: b.norm2(b.mlp(x * b.rs1.gamma + b.norm1(functional.gelu(b.mixer(x))))),
}


@pytest.mark.parametrize("block", ARRANGEMENTS)
@torch.no_grad()
def test_a_residual_scale_is_of_what_a_branch_is_added_to(x: Tensor, block: str) -> None:
    """Yu et al. 2022, MetaFormer Baselines for Vision, `res_scale` of the code."""
    sizes: Options = {"tokens": N, "dim": D, "heads": h, "block": block, "activation": "gelu"}
    usual, scaled = (
        EncoderLayerModule(EncoderLayer(**sizes, res_scale=on)) for on in (False, True)
    )
    prepare(usual)
    missing, unknown = scaled.double().eval().load_state_dict(usual.state_dict(), strict=False)
    scales = 1 if block in ("single", "inner", "conv") else 2
    assert (sorted(missing), unknown) == ([f"rs{place + 1}.gamma" for place in range(scales)], [])
    assert_close(scaled(x), usual(x))  # at first
    prepare(scaled)
    assert_close(scaled(x), SCALED[block](scaled, x))


@torch.no_grad()
def test_layer_scale_is_a_gain_of_each_channel(x: Tensor) -> None:
    scale = LayerScale(D).double()
    assert_close(scale(x), x * 1e-4, atol=1e-9, rtol=0)  # at first
    prepare(scale)
    y = torch.empty_like(x)
    for c in range(D):
        y[:, :, c] = x[:, :, c] * scale.gamma[c].item()
    assert_close(scale(x), y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_drop_path_keeps_or_drops_a_sample_as_a_whole(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25)
    x = torch.randn(40, N, D).to(dtype)
    y = drop(x)
    kept = [sample for sample in range(40) if y[sample].any()]
    assert 20 <= len(kept) < 40  # 30 are expected, with a deviation of 2.7
    for sample in range(40):
        assert_close(y[sample], x[sample] / 0.75 if sample in kept else 0 * x[sample])
    assert drop.eval()(x) is x


DROPPING: list[tuple[Options, list[str]]] = [
    ({}, ["proj_drop", "drop_path1", "mlp.drop1", "mlp.drop2", "drop_path2"]),
    ({"mlp": "gated"}, ["proj_drop", "drop_path1", "mlp.drop1", "mlp.drop2", "drop_path2"]),
    ({"mlp": "linear"}, ["proj_drop", "drop_path1", "mlp.drop1", "drop_path2"]),
    ({"block": "single"}, ["proj_drop", "mlp.drop1", "mlp.drop2", "drop_path1"]),
    ({"block": "conv"}, ["proj_drop", "drop_path1", "mlp.drop1", "mlp.drop2"]),
]


@pytest.mark.parametrize(("turned", "places"), DROPPING, ids=[str(one[0]) for one in DROPPING])
def test_where_a_block_drops(x: Tensor, turned: Options, places: list[str]) -> None:
    """Each is called once; replaced by identities, they leave the block without them."""
    own: Options = {"tokens": N, "dim": D, "heads": h, **turned}
    rates: Options = {"dropout": "0.3", "drop_path": "0.4"}
    module = EncoderLayerModule(EncoderLayer(**own, **rates))
    usual = EncoderLayerModule(EncoderLayer(**own))
    prepare(module)
    usual.double().load_state_dict(module.state_dict())
    drops = {
        path: part
        for path, part in module.named_modules()
        if isinstance(part, nn.Dropout | DropPath)
    }
    assert sorted(drops) == sorted(places)
    assert {path: part.p for path, part in drops.items()} == {
        path: 0.4 if "path" in path else 0.3 for path in places
    }
    called: list[nn.Module] = []
    for part in drops.values():
        part.register_forward_hook(lambda part, given, y: called.append(part))
    module.train()
    y = module(x)
    assert sorted(map(id, called)) == sorted(map(id, drops.values()))
    assert not torch.equal(y, module(x))
    for path in places:
        module.set_submodule(path, nn.Identity())
    assert torch.equal(module(x), usual(x))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("lead", [(B, N), (B,)])
@torch.no_grad()
def test_batch_norm_is_torchs_on_rows(lead: tuple[int, ...], train: bool) -> None:
    torch.manual_seed(0)
    norm = TokenBatchNorm(D)
    prepare(norm)
    norm.train(train)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    torchs_mean, torchs_variance = mean.clone(), variance.clone()
    x = torch.randn(*lead, D, dtype=torch.float64)
    rows = functional.batch_norm(
        x.reshape(-1, D), torchs_mean, torchs_variance, norm.weight, norm.bias, training=train
    )
    before = mean.clone()
    y = norm(x)
    assert_close(y, rows.reshape(*lead, D))
    assert_close((mean, variance), (torchs_mean, torchs_variance))
    assert torch.equal(mean, before) != train


@torch.no_grad()
def test_batch_norm_of_tokens_takes_those_of_all_images(x: Tensor) -> None:
    norm = TokenBatchNorm(D)
    prepare(norm)
    norm.train()
    y = torch.empty_like(x)
    for c in range(D):
        of_channel = [x[b, token, c].item() for b in range(B) for token in range(N)]
        mean = sum(of_channel) / (B * N)
        variance = sum((z - mean) ** 2 for z in of_channel) / (B * N)
        gain, bias = norm.weight[c].item(), norm.bias[c].item()
        y[:, :, c] = (x[:, :, c] - mean) / sqrt(variance + norm.eps) * gain + bias
    assert_close(norm(x), y)


@pytest.mark.parametrize(
    "size", [1, 1e-3]
)  # values for which an epsilon of 1e-6 is small, and large
@torch.no_grad()
def test_rms_norm_is_its_formula(x: Tensor, size: float) -> None:
    norm: Any = NORM_MODULES["rms"](D)
    prepare(norm)
    x, y = size * x, torch.empty_like(x)
    for b, token in product(range(B), range(N)):
        mean_square = sum(z.item() ** 2 for z in x[b, token]) / D
        y[b, token] = x[b, token] / sqrt(mean_square + 1e-6) * norm.weight
    assert_close(norm(x), y)


def named(norm: Callable[[Run, str, PaperTensor], PaperTensor], run: Run, x: PaperTensor) -> object:
    return norm(run, "norm", x)


def test_norms_have_the_same_names_on_both_sides() -> None:
    assert NORMS.keys() == NORM_MODULES.keys()
    types = {name: type(norm(D)).__name__ for name, norm in NORM_MODULES.items()}
    shape = (Size(B), Size(N), Size(D))
    for name, norm in NORMS.items():
        tree = count("", "", partial(named, norm), shape)
        assert [child.type for child in tree.children] == [types[name]]


@pytest.mark.parametrize(
    "turned",
    [{}, {"layer_scale": True}, {"mlp": "none", "layer_scale": True}]
    + [{"norm": norm, "mlp": "gated"} for norm in NORMS],
    ids=str,
)
@torch.no_grad()
def test_a_block_adds_its_scaled_branches(x: Tensor, turned: Options) -> None:
    block: Any = EncoderLayerModule(EncoderLayer(tokens=N, dim=D, heads=h, **turned))
    prepare(block)
    scaled = turned.get("layer_scale", False)
    y = x + block.mixer(block.norm1(x)) * (block.ls1.gamma if scaled else 1)
    if turned.get("mlp") != "none":
        y = y + block.mlp(block.norm2(y)) * (block.ls2.gamma if scaled else 1)
    else:
        assert not {"norm2", "mlp", "ls2"} & {name for name, _ in block.named_children()}
    assert_close(block(x), y)


# Models on images of 2 rows of 3 patches, 2 × 2 pixels in 3 channels.

ROWS, COLUMNS, SIDE, CHANNELS, IMAGES = 2, 3, 2, 3, 4
PATCHES = ROWS * COLUMNS
SMALL: Options = {"image_size": ROWS * SIDE, "image_width": COLUMNS * SIDE, "patch_size": SIDE}
SMALL |= {"channels": CHANNELS, "dim": D, "depth": 2, "heads": h}


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(IMAGES, CHANNELS, ROWS * SIDE, COLUMNS * SIDE)


def pixels(images: Tensor, image: int, patch: int) -> Tensor:
    """Return a flattened patch: pixels row by row, channels last."""
    row, column = divmod(patch, COLUMNS)
    across = range(column * SIDE, (column + 1) * SIDE)
    down = range(row * SIDE, (row + 1) * SIDE)
    return torch.stack(
        [images[image, c, y, x] for y in down for x in across for c in range(CHANNELS)]
    )


def classifier(**turned: Any) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(Classifier(**SMALL, **{"classes": K, **turned})).eval()


def held(first: nn.Module, last: nn.Module, run: Callable[[], Any]) -> tuple[Tensor, Tensor, Any]:
    """Return the input of one module, the output of another, and the result of `run`."""
    seen: dict[str, Tensor] = {}
    hooks = [
        first.register_forward_pre_hook(lambda _, given: seen.update(into=given[0])),
        last.register_forward_hook(lambda _, given, output: seen.update(out=output)),
    ]
    returned = run()
    for hook in hooks:
        hook.remove()
    return seen["into"], seen["out"], returned


def position(table: Tensor | None, place: int) -> Tensor | float:
    return 0.0 if table is None else table[0, place]


@pytest.mark.parametrize(
    ("turned", "learned", "has_positions"),
    [
        ({}, 1, 1),
        ({"pos_embed_token": False}, 1, 0),
        ({"pos_embed": "fixed"}, 1, 1),
        ({"pos_embed": "fixed", "pos_embed_token": False}, 1, 0),
        ({"pos_embed": "none"}, 1, 0),
        ({"distillation": True}, 2, 2),
        ({"distillation": True, "pos_embed_token": False}, 2, 0),
        ({"distillation": True, "pos_embed": "none"}, 2, 0),
        ({"pool": "mean"}, 0, 0),
        ({"pool": "mean", "pos_embed": "none", "patch_bias": False}, 0, 0),
        ({"pool": "none", "head": False}, 0, 0),
        ({"registers": 3}, 1, 1),
        ({"registers": 3, "pos_embed": "fixed", "distillation": True}, 2, 2),
        ({"registers": 1, "pos_embed_token": False}, 1, 0),
        ({"registers": 2, "pool": "mean", "pos_embed": "none"}, 0, 0),
        ({"registers": 2, "pool": "map"}, 0, 0),
    ],
    ids=str,
)
@torch.no_grad()
def test_tokens_of_a_classifier(
    images: Tensor, turned: Options, learned: int, has_positions: int
) -> None:
    """Prefix tokens come first, in their order, registers last and without positions; then the
    patches row by row; with positions."""
    model = classifier(**turned)
    tokens, _, _ = held(model.blocks[0], model.norm, lambda: model(images))
    table = model.pos_embed
    registers = turned.get("registers", 0)
    prefix_tokens = learned + registers
    assert tokens.shape == (IMAGES, prefix_tokens + PATCHES, D)
    if table is not None:
        assert table.shape == (1, has_positions + PATCHES, D)
    for place, name in enumerate(("cls_token", "dist_token")):
        assert hasattr(model, name) == (place < learned)
        if place < learned:
            at = position(table, place) if has_positions else 0.0
            expected = model.get_parameter(name)[0, 0] + at
            assert_close(tokens[:, place], expected.expand(IMAGES, D))
    for place in range(registers):
        expected = model.get_parameter("reg_token")[0, place]
        assert_close(tokens[:, learned + place], expected.expand(IMAGES, D))
    for b, patch in product(range(IMAGES), range(PATCHES)):
        embedded = model.get_submodule("patch_embed.proj")(pixels(images, b, patch))
        expected = embedded + position(table, has_positions + patch)
        assert_close(tokens[b, prefix_tokens + patch], expected)


def feature(model: VisionTransformer, encoded: Tensor, *places: int) -> Tensor:
    """Return the normalised tokens at these indices."""
    return torch.stack([model.norm(encoded[:, place]) for place in places], dim=1)


Expected = Callable[[VisionTransformer, Tensor], Tensor]


def linear(model: nn.Module, name: str, x: Tensor) -> Tensor:
    """Apply a linear layer to tokens."""
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return x @ layer.weight.T + (0 if layer.bias is None else layer.bias)


def logits(model: VisionTransformer, x: Tensor, head: str = "head") -> Tensor:
    if model.before_head:
        x = linear(model, "pre_logits", x)
        if "hidden_norm" in model.before_head:
            x = model.get_submodule("hidden_norm")(x.clamp(min=0) ** 2)
        else:
            x = x.tanh()
    return linear(model, head, x)


def attended(model: VisionTransformer, encoded: Tensor) -> Tensor:
    """Zhai et al. 2021, section 2.1: one learned query for each head, then an MLP."""
    patches = feature(model, encoded, *range(encoded.shape[1]))[:, -PATCHES:]
    pool: Any = model.attn_pool
    C = D // h
    query = linear(pool, "q", pool.latent[0, 0])
    both = linear(pool, "kv", patches)
    keys, values = both[..., :D], both[..., D:]
    found = torch.empty(IMAGES, D)
    for b, head in product(range(IMAGES), range(h)):
        own = slice(head * C, (head + 1) * C)
        scores = torch.stack([query[own] @ keys[b, n, own] for n in range(PATCHES)]) / C**0.5
        weights = scores.exp() / scores.exp().sum()
        found[b, own] = sum(weights[n] * values[b, n, own] for n in range(PATCHES))
    found = linear(pool, "proj", found)
    return found + pool.mlp(pool.norm(found)) if pool.has_mlp else found


def distilled(model: VisionTransformer, encoded: Tensor) -> Tensor:
    both = feature(model, encoded, 0, 1)
    return (logits(model, both[:, 0]) + logits(model, both[:, 1], "head_dist")) / 2


def mean_of_patches(model: VisionTransformer, encoded: Tensor) -> Tensor:
    each = feature(model, encoded, *range(PATCHES))
    return sum((each[:, patch] for patch in range(PATCHES)), torch.zeros(IMAGES, D)) / PATCHES


RETURNED: list[tuple[Options, tuple[int, ...], Expected]] = [
    ({}, (K,), lambda m, x: logits(m, feature(m, x, 0)[:, 0])),
    ({"distillation": True}, (K,), distilled),
    ({"pool": "mean"}, (K,), lambda m, x: logits(m, mean_of_patches(m, x))),
    ({"final_norm_tokens": "all"}, (K,), lambda m, x: logits(m, feature(m, x, 0)[:, 0])),
    ({"final_norm_tokens": "all", "distillation": True}, (K,), distilled),
    ({"head": False}, (D,), lambda m, x: feature(m, x, 0)[:, 0]),
    ({"distillation": True, "head": False}, (2, D), lambda m, x: feature(m, x, 0, 1)),
    ({"pool": "mean", "head": False}, (D,), mean_of_patches),
    ({"pool": "none", "head": False}, (PATCHES, D), lambda m, x: feature(m, x, *range(PATCHES))),
    (
        {"pool": "none", "head": False, "registers": 2},
        (PATCHES, D),
        lambda m, x: feature(m, x, *range(2, 2 + PATCHES)),
    ),
    (
        {"pool": "mean", "head": False, "registers": 2},
        (D,),
        lambda m, x: feature(m, x, *range(2, 2 + PATCHES)).mean(1),
    ),
    (
        {"pool": "mean", "final_norm_tokens": "pooled", "head": False},
        (D,),
        lambda m, x: m.norm(x.mean(1)),
    ),
    ({"final_norm_tokens": "pooled"}, (K,), lambda m, x: logits(m, m.norm(x[:, 0]))),
    ({"pool": "map", "head": False}, (D,), attended),
    ({"pool": "map", "head": False, "pool_fused": True, "registers": 1}, (D,), attended),
    ({"pool": "map", "mlp": "none"}, (K,), lambda m, x: logits(m, attended(m, x))),
    ({"head_hidden": 9}, (K,), lambda m, x: logits(m, feature(m, x, 0)[:, 0])),
    ({"head_hidden": 9, "distillation": True, "head_bias": False}, (K,), distilled),
    (
        {"head_hidden": 9, "pre_logits": "squared-relu"},
        (K,),
        lambda m, x: logits(m, feature(m, x, 0)[:, 0]),
    ),
]


@pytest.mark.parametrize("turned", [{}, {"registers": 2}, {"pool": "map"}], ids=str)
@torch.no_grad()
def test_a_first_norm_is_before_the_first_block(images: Tensor, turned: Options) -> None:
    model = classifier(first_norm=True, **turned)
    into, out, _ = held(model.norm_pre, model.norm_pre, lambda: model(images))
    tokens, _, _ = held(model.blocks[0], model.norm, lambda: model(images))
    assert_close(tokens, out)
    assert_close(
        out, (into - into.mean(-1, True)) / (into.var(-1, correction=0, keepdim=True) + 1e-6) ** 0.5
    )


@pytest.mark.parametrize("final_norm", [True, False])
@pytest.mark.parametrize(
    ("turned", "shape", "expected"), RETURNED, ids=[str(one[0]) for one in RETURNED]
)
@torch.no_grad()
def test_what_a_classifier_returns(
    images: Tensor, turned: Options, shape: tuple[int, ...], expected: Expected, final_norm: bool
) -> None:
    model = classifier(**turned, final_norm=final_norm)
    _, encoded, returned = held(model.blocks[0], model.blocks[-1], lambda: model(images))
    assert returned.shape == (IMAGES, *shape)
    assert isinstance(model.norm, nn.LayerNorm if final_norm else nn.Identity)
    assert_close(returned, expected(model, encoded))


def test_a_classifier_without_a_head_has_none() -> None:
    for distillation in (False, True):
        model = classifier(head=False, distillation=distillation)
        assert not [name for name, _ in model.named_parameters() if name.startswith("head")]
        assert not Classifier(head=False, distillation=distillation).classifies
        assert Classifier(distillation=distillation).classifies


def test_fixed_positions_of_a_grid_that_is_not_square() -> None:
    """2 rows of 3 columns, 8 channels: a quarter of them are 2 frequencies, 1 and 1 / 100."""
    table = sincos_positions((2, 3), 8, prefix_tokens=2)
    assert table.shape == (1, 2 + 2 * 3, 8)
    assert not table[0, :2].any()
    last = [sin(2), sin(2 / 100), cos(2), cos(2 / 100), sin(1), sin(1 / 100), cos(1), cos(1 / 100)]
    assert_close(table[0, 2 + 1 * 3 + 2], torch.tensor(last))  # row 1, column 2
    third = [sin(2), sin(2 / 100), cos(2), cos(2 / 100), 0, 0, 1, 1]
    assert_close(table[0, 2 + 2], torch.tensor(third))  # row 0, column 2
    fourth = [0, 0, 1, 1, sin(1), sin(1 / 100), cos(1), cos(1 / 100)]
    assert_close(table[0, 2 + 3], torch.tensor(fourth))  # row 1, column 0


def autoencoder(**turned: Any) -> MaskedAutoencoderViT:
    torch.manual_seed(0)
    decoder: Options = {"decoder_dim": 20, "decoder_depth": 1, "decoder_heads": 5}
    return MaskedAutoencoderViT(MaskedAutoencoder(**SMALL, **decoder, **turned)).eval()


def masked(model: MaskedAutoencoderViT, images: Tensor) -> Any:
    """Run the model with the same random mask each time."""
    torch.manual_seed(2)
    return model(images)


@torch.no_grad()
def test_features_are_compared_with_random_numbers(images: Tensor) -> None:
    model = autoencoder(decoder_output=7, mask_ratio="0.5")
    torch.manual_seed(3)
    loss, predicted, mask = model(images)
    assert predicted.shape == (IMAGES, PATCHES, 7)
    torch.manual_seed(3)
    torch.rand(IMAGES, PATCHES)  # the order of the patches is drawn first
    target, errors = torch.rand(IMAGES, PATCHES, 7), []
    for b, patch in product(range(IMAGES), range(PATCHES)):
        if mask[b, patch]:
            errors += [(predicted[b, patch, i] - target[b, patch, i]) ** 2 for i in range(7)]
    assert_close(loss, torch.stack(errors).mean())


# Of 6 patches, 1.5 are not masked; and 3.
MASKS = [("0.75", 1), ("0.5", 3), ("0", 6)]


@pytest.mark.parametrize(("mask_ratio", "kept"), MASKS)
@torch.no_grad()
def test_an_autoencoder_without_class_token(images: Tensor, mask_ratio: str, kept: int) -> None:
    model = autoencoder(class_token=False, mask_ratio=mask_ratio)
    seen, decoded, (loss, prediction, mask) = held(
        model.blocks[0], model.decoder_pred, lambda: masked(model, images)
    )
    assert not hasattr(model, "cls_token")
    assert seen.shape == (IMAGES, kept, D)
    assert mask.shape == (IMAGES, PATCHES)
    assert mask.sum(1).tolist() == [PATCHES - kept] * IMAGES
    assert prediction.shape == (IMAGES, PATCHES, SIDE * SIDE * CHANNELS)
    assert torch.equal(prediction, decoded)
    errors = [
        (prediction[b, patch] - pixels(images, b, patch)).square().mean()
        for b, patch in product(range(IMAGES), range(PATCHES))
        if mask[b, patch]
    ]
    assert loss.shape == ()
    assert_close(loss, torch.stack(errors).mean() if errors else torch.tensor(0.0))


@pytest.mark.parametrize("kind", ["learned", "fixed", "none"])
@pytest.mark.parametrize(
    ("turned", "prefix_tokens", "has_positions"),
    [
        ({}, 1, 1),
        ({"pos_embed_token": False}, 1, 0),
        ({"class_token": False}, 0, 0),
        ({"class_token": False, "pos_embed_token": False, "final_norm": False}, 0, 0),
    ],
    ids=str,
)
@torch.no_grad()
def test_every_patch_has_its_own_place(
    images: Tensor, turned: Options, prefix_tokens: int, has_positions: int, kind: str
) -> None:
    """Follow each patch by its value into the encoder, and back to its position in the decoder."""
    model = autoencoder(**turned, pos_embed=kind, mask_ratio="0.5")
    into, encoded, (_, prediction, mask) = held(
        model.blocks[0], model.norm, lambda: masked(model, images)
    )
    decoder_into, decoded, _ = held(
        model.decoder_blocks[0], model.decoder_pred, lambda: masked(model, images)
    )
    table, decoder_table = model.pos_embed, model.decoder_pos_embed
    assert (table is None) == (decoder_table is None) == (kind == "none")
    conv: Any = model.patch_embed.proj
    embed = model.decoder_embed
    assert_close(prediction, decoded[:, prefix_tokens:])
    if prefix_tokens:
        token = model.cls_token[0, 0] + (position(table, 0) if has_positions else 0.0)
        assert_close(into[:, 0], token.expand(IMAGES, D))
        token_there = embed(encoded[:, 0]) + (position(decoder_table, 0) if has_positions else 0.0)
        assert_close(decoder_into[:, 0], token_there)
    for b, patch in product(range(IMAGES), range(PATCHES)):
        # The kernel's pixels are in the order of `pixels`, with the channels last.
        kernel = conv.weight.permute(0, 2, 3, 1).flatten(1)
        embedded = kernel @ pixels(images, b, patch) + conv.bias
        embedded = embedded + position(table, has_positions + patch)
        distance = (into[b, prefix_tokens:] - embedded).abs().amax(dim=1)
        place = int(distance.argmin())
        is_kept = bool(distance[place] < 1e-5)
        assert is_kept == (mask[b, patch] == 0)
        token = embed(encoded[b, prefix_tokens + place]) if is_kept else model.mask_token[0, 0]
        expected = token + position(decoder_table, has_positions + patch)
        assert_close(decoder_into[b, prefix_tokens + patch], expected)


@pytest.mark.parametrize("name", ["classifier", "mae"])
def test_learned_positions_have_a_gradient_and_fixed_ones_none(images: Tensor, name: str) -> None:
    for kind in ("learned", "fixed"):
        tables: list[nn.Parameter | None]
        places = [[True] * (1 + PATCHES)]
        if name == "mae":
            autoencoding = autoencoder(pos_embed=kind)
            tables = [autoencoding.pos_embed, autoencoding.decoder_pos_embed]
            loss, _, mask = masked(autoencoding, images)
            # A position that every image drops gets no gradient from the encoder.
            kept = (mask == 0).any(dim=0).tolist()
            assert not all(kept)
            places = [[True, *kept], *places]
        else:
            classifying = classifier(pos_embed=kind)
            tables = [classifying.pos_embed]
            loss = functional.cross_entropy(classifying(images), torch.arange(IMAGES))
        torch.autograd.backward(loss)
        for table, used in zip(tables, places, strict=True):
            assert table is not None
            assert table.requires_grad == (kind == "learned")
            if table.requires_grad:
                assert table.grad is not None
                assert table.grad[0].any(dim=-1).tolist() == used
            else:
                assert table.grad is None
