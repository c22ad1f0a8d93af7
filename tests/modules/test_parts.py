"""Parts of XCiT, CaiT and SAM against naive references, and each as a whole against timm's."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import product
from math import cos, pi, sin, sqrt
from typing import Any

import pytest
import torch
from references import prepare
from timm.models.cait import Cait
from timm.models.vision_transformer_sam import VisionTransformerSAM
from timm.models.xcit import PositionalEncodingFourier, Xcit
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers.attention import Attention
from vitprof.formulas.mixers.window import WindowAttention
from vitprof.formulas.mixers.xca import CrossCovarianceAttention
from vitprof.formulas.models.classifier import Classifier
from vitprof.formulas.models.encoder_layer import EncoderLayer
from vitprof.formulas.parts.mlps import MlpOptions
from vitprof.formulas.parts.neck import NeckOptions
from vitprof.modules.block import EncoderLayer as EncoderLayerModule
from vitprof.modules.models.classifier import VisionTransformer
from vitprof.modules.parts.class_attention import ClassAttention, ClassAttentionLayer
from vitprof.modules.parts.mlps import make_mlp
from vitprof.modules.parts.neck import Neck
from vitprof.modules.parts.patch_interaction import PatchInteraction
from vitprof.modules.parts.positions import FourierPositions
from vitprof.modules.parts.stems import ConvStem

Options = dict[str, Any]

B, ROWS, COLUMNS, D, h = 2, 3, 5, 12, 3  # images, their grid, channels, heads
N = ROWS * COLUMNS


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, N, D, dtype=torch.float64)


def convolved(conv: nn.Conv2d, x: Tensor, *, stride: int = 1) -> Tensor:
    """Convolve (B, C, rows, columns) by a padded 3 x 3 kernel, position by position."""
    images, channels, rows, columns = x.shape
    depthwise = conv.groups > 1
    y = torch.zeros(images, len(conv.weight), rows // stride, columns // stride, dtype=x.dtype)
    for r, c, i, j in product(range(y.shape[2]), range(y.shape[3]), range(3), range(3)):
        row, column = stride * r + i - 1, stride * c + j - 1
        if 0 <= row < rows and 0 <= column < columns:
            for o in range(len(y[0])):
                for channel in [0] if depthwise else range(channels):
                    read = x[:, o if depthwise else channel, row, column]
                    y[:, o, r, c] += conv.weight[o, channel, i, j] * read
    return y if conv.bias is None else y + conv.bias[:, None, None]


def batch_normed(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    for c in range(x.shape[1]):
        root = sqrt(norm.running_var[c].item() + norm.eps)
        y[:, c] = (x[:, c] - norm.running_mean[c]) / root * norm.weight[c] + norm.bias[c]
    return y


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@torch.no_grad()
def test_patch_interaction_mixes_neighbours_of_each_channel(x: Tensor, activation: str) -> None:
    local = PatchInteraction(D, (ROWS, COLUMNS), activation)
    prepare(local)
    z = x.transpose(1, 2).reshape(B, D, ROWS, COLUMNS)
    z = getattr(functional, activation)(convolved(local.conv1, z))
    z = convolved(local.conv2, batch_normed(local.norm, z))
    assert_close(local(x), z.reshape(B, D, N).transpose(1, 2))


@torch.no_grad()
def test_a_neck_convolves_patches(x: Tensor) -> None:
    neck = Neck(NeckOptions(neck=5), D, (ROWS, COLUMNS))
    prepare(neck)

    def normed(norm: Any, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (5,), norm.weight, norm.bias, 1e-6)

    y = normed(neck.norm1, x @ neck.conv1.weight[:, :, 0, 0].T)
    z = convolved(neck.conv2, y.transpose(1, 2).reshape(B, 5, ROWS, COLUMNS))
    assert_close(neck(x), normed(neck.norm2, z.reshape(B, 5, N).transpose(1, 2)))


@pytest.mark.parametrize("kind", ["conv", "relu-conv"])
@torch.no_grad()
def test_an_mlp_with_a_convolution_mixes_neighbours_of_each_hidden_channel(
    x: Tensor, kind: str
) -> None:
    """Wang et al. 2021, PVTv2, section 3.3; timm's `MlpWithDepthwiseConv` has the ReLU."""
    options = MlpOptions(mlp_conv=kind, activation="gelu")
    mlp: Any = make_mlp(options, D, 3 * D, (ROWS, COLUMNS))
    prepare(mlp)
    hidden = functional.linear(x, mlp.fc1.weight, mlp.fc1.bias)
    if kind == "relu-conv":
        hidden = hidden.clamp(min=0)
    hidden = convolved(mlp.conv, hidden.transpose(1, 2).reshape(B, 3 * D, ROWS, COLUMNS))
    hidden = functional.gelu(hidden.reshape(B, 3 * D, N).transpose(1, 2))
    assert_close(mlp(x), functional.linear(hidden, mlp.fc2.weight, mlp.fc2.bias))


def test_an_mlp_of_tokens_without_a_grid_has_no_convolution() -> None:
    assert type(make_mlp(MlpOptions(mlp_conv="conv"), D, 3 * D)).__name__ == "Mlp"


LOCAL: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "pre": lambda b, x: (
        (z := (y := x + b.ls1(b.mixer(b.norm1(x)))) + b.ls3(b.local(b.norm3(y))))
        + b.ls2(b.mlp(b.norm2(z)))
    ),
    "post": lambda b, x: b.norm2(
        (z := b.norm3((y := b.norm1(x + b.ls1(b.mixer(x)))) + b.ls3(b.local(y)))) + b.ls2(b.mlp(z))
    ),
    "res-post": lambda b, x: (
        (z := (y := x + b.ls1(b.norm1(b.mixer(x)))) + b.ls3(b.norm3(b.local(y))))
        + b.ls2(b.norm2(b.mlp(z)))
    ),
    "parallel": lambda b, x: (
        x + b.ls1(b.mixer(b.norm1(x))) + b.ls3(b.local(b.norm1(x))) + b.ls2(b.mlp(b.norm1(x)))
    ),
}


@pytest.mark.parametrize("block", LOCAL)
@torch.no_grad()
def test_patch_interaction_is_a_branch_of_its_own(x: Tensor, block: str) -> None:
    sizes: Options = {"tokens": 16, "dim": D, "heads": h, "block": block}
    module = EncoderLayerModule(EncoderLayer(**sizes, patch_interaction=True, layer_scale=True))
    prepare(module)
    x = torch.cat([x, x[:, :1]], dim=1)  # 4 × 4 tokens
    assert_close(module(x), LOCAL[block](module, x))
    assert type(module.ls3).__name__ == "LayerScale"


@pytest.mark.parametrize(("side", "widths"), [(2, [D]), (8, [D // 4, D // 2, D])])
@torch.no_grad()
def test_a_stem_of_convolutions_halves_a_patch_until_it_is_a_position(
    side: int, widths: list[int]
) -> None:
    torch.manual_seed(0)
    sizes: Options = {"image_size": 2 * side, "image_width": 3 * side, "patch_size": side}
    stem: Any = ConvStem(Classifier(**sizes, channels=2, dim=D, heads=h, stem="conv"))
    prepare(stem)
    images = torch.randn(B, 2, 2 * side, 3 * side, dtype=torch.float64)
    z = images
    for place, width in enumerate(widths, 1):
        if place > 1:
            z = z.relu()
        conv = stem.get_submodule(f"conv{place}")
        assert (conv.weight.shape, conv.bias) == ((width, z.shape[1], 3, 3), None)
        z = batch_normed(stem.get_submodule(f"norm{place}"), convolved(conv, z, stride=2))
    assert z.shape == (B, D, 2, 3)
    y = torch.stack([z[:, :, row, column] for row, column in product(range(2), range(3))], dim=1)
    assert_close(stem(images), y)
    normed: Any = ConvStem(
        Classifier(**sizes, channels=2, dim=D, heads=h, stem="conv", patch_norm=True)
    )
    prepare(normed)
    normed.load_state_dict(stem.state_dict(), strict=False)
    assert_close(normed(images), normed.norm(y.relu()))


@torch.no_grad()
def test_fourier_positions_are_mapped_waves_of_row_and_column(x: Tensor) -> None:
    positions = FourierPositions((ROWS, COLUMNS), D)
    waves = torch.empty(64, ROWS, COLUMNS, dtype=torch.float64)
    for row, column, k in product(range(ROWS), range(COLUMNS), range(32)):
        wave = cos if k % 2 else sin
        length = 10000 ** (2 * (k // 2) / 32)
        waves[k, row, column] = wave(2 * pi * (row + 1) / (ROWS + 1e-6) / length)
        waves[32 + k, row, column] = wave(2 * pi * (column + 1) / (COLUMNS + 1e-6) / length)
    assert_close(positions.waves[0].double(), waves, atol=1e-6, rtol=0)
    prepare(positions)
    weight, bias = positions.proj.weight[:, :, 0, 0], positions.proj.bias
    assert bias is not None
    table = [weight @ positions.waves[0, :, n // COLUMNS, n % COLUMNS] + bias for n in range(N)]
    assert_close(positions(x), x + torch.stack(table))
    assert "waves" not in positions.state_dict()


@torch.no_grad()
def test_fourier_positions_are_those_of_timm(x: Tensor) -> None:
    positions, timms = FourierPositions((ROWS, COLUMNS), D), PositionalEncodingFourier(dim=D)
    timms.token_projection.load_state_dict(positions.proj.state_dict())
    expected = timms(1, ROWS, COLUMNS).flatten(2).transpose(1, 2)
    assert_close(positions(torch.zeros(1, N, D)), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("fused", [False, True])
@torch.no_grad()
def test_the_class_token_attends_to_all_tokens(x: Tensor, fused: bool) -> None:
    attention = ClassAttention(D, h, fused=fused)
    prepare(attention)
    C = D // h
    q, k, v = attention.q(x[:, 0]), attention.k(x), attention.v(x)
    found = torch.empty(B, D, dtype=torch.float64)
    for b, head in product(range(B), range(h)):
        own = slice(head * C, (head + 1) * C)
        scores = torch.stack([q[b, own] @ k[b, n, own] for n in range(N)]) / sqrt(C)
        weights = scores.exp() / scores.exp().sum()
        found[b, own] = sum(weights[n] * v[b, n, own] for n in range(N))
    assert_close(attention(x), attention.proj(found)[:, None])


def cait(layer: Any, u: Tensor) -> Tensor:
    """Touvron et al. 2021, eqs. 5 to 8: only the class token is changed."""
    z = u[:, 0] + layer.ls1(layer.attn(layer.norm1(u))[:, 0])
    if layer.has_mlp:
        z = z + layer.ls2(layer.mlp(layer.norm2(z)))
    return torch.stack([z, *u[:, 1:].unbind(1)], dim=1)


def xcit(layer: Any, u: Tensor) -> Tensor:
    """`ClassAttentionBlock` of XCiT's code, token by token."""
    attended = layer.attn(layer.norm1(u))[:, 0]
    tokens = [u[:, 0] + layer.ls1(attended)]
    tokens += [u[:, n] + layer.ls1(layer.norm1(u[:, n])) for n in range(1, N)]
    if layer.has_mlp:
        read = range(N) if layer.norm_all else [0]
        tokens = [layer.norm2(z) if n in read else z for n, z in enumerate(tokens)]
        tokens = [z + (z if n else layer.ls2(layer.mlp(z))) for n, z in enumerate(tokens)]
    return torch.stack(tokens, dim=1)


@pytest.mark.parametrize(
    "turned",
    [{}, {"layer_scale": True}, {"mlp": "none"}, {"mlp": "gated", "norm": "rms"}],
    ids=str,
)
@pytest.mark.parametrize(
    ("kind", "naive"), [("cait", cait), ("xcit", xcit), ("xcit of its class", xcit)]
)
@torch.no_grad()
def test_layers_of_class_attention(
    x: Tensor, kind: str, naive: Callable[[Any, Tensor], Tensor], turned: Options
) -> None:
    of_all = kind != "xcit of its class"
    spec = Classifier(
        dim=D, heads=h, pool="class", class_layer=kind[:4], class_norm_all=of_all, **turned
    )
    layer = ClassAttentionLayer(spec)
    prepare(layer)
    assert_close(layer(x), naive(layer, x))


SMALL: Options = {"image_size": 4, "image_width": 6, "patch_size": 2, "channels": 3}
SMALL |= {"dim": D, "depth": 2, "heads": h, "classes": 7, "pool": "class", "class_layers": 3}


@pytest.mark.parametrize("registers", [0, 2])
@pytest.mark.parametrize("tokens", ["all", "token", "pooled"])
@torch.no_grad()
def test_the_class_token_joins_the_tokens_after_the_blocks(registers: int, tokens: str) -> None:
    torch.manual_seed(0)
    spec = Classifier(**SMALL, registers=registers, final_norm_tokens=tokens)
    model = VisionTransformer(spec).eval()
    assert len(model.class_blocks) == 3
    seen: dict[str, Tensor] = {}
    model.blocks[0].register_forward_pre_hook(lambda _, given: seen.update(first=given[0]))
    model.blocks[-1].register_forward_hook(lambda _, given, y: seen.update(last=y))
    logits = model(torch.randn(B, 3, 4, 6))
    assert seen["first"].shape == (B, registers + 6, D)
    u = torch.cat([model.cls_token.expand(B, 1, D), seen["last"]], dim=1)
    for layer in model.class_blocks:
        u = layer(u)
    assert model.head is not None
    assert_close(logits, model.head(model.norm(u[:, 0])))


LIKE_TIMMS: Options = {"activation": "gelu", "layer_scale": True, "classes": 7}
# Paths of timm's parameters, and those of the same here.
COMMON = [
    (r"(gamma|gamma_)(\d)$", r"ls\2.gamma"),
    (r"^(blocks\.\d+)\.attn\.proj_l\.", r"\1.mixer.mix_scores."),
    (r"^(blocks\.\d+)\.attn\.proj_w\.", r"\1.mixer.mix_weights."),
    (r"^(blocks\.\d+)\.attn\.proj\.", r"\1.mixer.fc_out."),
    (r"^(blocks\.\d+)\.attn\.rel_pos_h$", r"\1.mixer.relative.row_table"),
    (r"^(blocks\.\d+)\.attn\.rel_pos_w$", r"\1.mixer.relative.column_table"),
    (r"^neck\.0\.", "neck.conv1."),
    (r"^neck\.1\.", "neck.norm1."),
    (r"^neck\.2\.", "neck.conv2."),
    (r"^neck\.3\.", "neck.norm2."),
    (r"^(blocks\.\d+)\.attn\.", r"\1.mixer."),
    (r"^(cls_attn_blocks|blocks_token_only)\.", "class_blocks."),
    (r"\.local_mp\.bn\.", ".local.norm."),
    (r"\.local_mp\.", ".local."),
    (r"^pos_embed\.token_projection\.", "fourier_embed.proj."),
]


def renamed(path: str) -> str:
    for pattern, here in COMMON:
        path = re.sub(pattern, here, path)
    step = re.match(r"patch_embed\.proj\.(\d+)\.(\d)\.(.*)", path)
    if step is None:
        return path
    place, kind = int(step[1]) // 2 + 1, ("conv", "norm")[int(step[2])]
    return f"patch_embed.{kind}{place}.{step[3]}"


def with_weights_of(timms: nn.Module, spec: Classifier) -> VisionTransformer:
    """Build a model with the weights of timm's, which have to be all of its own."""
    prepare(timms, reach=0.5)
    model = VisionTransformer(spec).double().eval()
    weights = {renamed(path): tensor for path, tensor in timms.state_dict().items()}
    flat = model.state_dict().get("patch_embed.proj.weight")
    if flat is not None:  # a linear layer on pixels with the channels last, there a convolution
        weights["patch_embed.proj.weight"] = (
            weights["patch_embed.proj.weight"].permute(0, 2, 3, 1).reshape(flat.shape)
        )
    model.load_state_dict(weights)
    return model


@pytest.mark.parametrize(("side", "tokens_norm"), [(8, False), (8, True), (16, True)])
@torch.no_grad()
def test_xcit_returns_what_timms_returns(side: int, tokens_norm: bool) -> None:
    torch.manual_seed(0)
    sizes: Options = {"patch_size": side, "depth": 2}
    timms = Xcit(embed_dim=24, num_heads=3, num_classes=7, tokens_norm=tokens_norm, **sizes)
    parts: Options = {"stem": "conv", "pos_embed": "fourier", "patch_interaction": True}
    parts |= {"pool": "class", "class_layer": "xcit", "class_norm_all": tokens_norm}
    sizes |= {"image_size": 2 * side, "image_width": 3 * side, "channels": 3, "dim": 24, "heads": 3}
    spec = Classifier(**sizes, **parts, **LIKE_TIMMS, mixer=CrossCovarianceAttention())
    model = with_weights_of(timms, spec)
    images = torch.randn(B, 3, 2 * side, 3 * side, dtype=torch.float64)
    timms.pos_embed.double()
    assert_close(model(images), timms(images), atol=1e-5, rtol=1e-5)  # waves in single precision


@torch.no_grad()
def test_cait_returns_what_timms_returns() -> None:
    torch.manual_seed(0)
    timms = Cait(img_size=12, patch_size=4, embed_dim=D, depth=2, num_heads=h, num_classes=7)
    sizes: Options = {"image_size": 12, "patch_size": 4, "channels": 3, "dim": D, "heads": h}
    mixer = Attention(talking_heads=True)
    spec = Classifier(**sizes, **LIKE_TIMMS, depth=2, mixer=mixer, pool="class", class_layer="cait")
    model = with_weights_of(timms, spec)
    images = torch.randn(B, 3, 12, 12, dtype=torch.float64)
    assert_close(model(images), timms(images))


SAM = {  # a mixer, and the blocks of timm's with global attention
    "window": (
        WindowAttention(window=4, window_pad=True, window_relative="decomposed"),
        (),
    ),
    "attn": (Attention(relative="decomposed"), (0, 1)),
}


@pytest.mark.parametrize(("mixer", "everywhere"), SAM.values(), ids=SAM)
@torch.no_grad()
def test_sam_returns_what_timm_returns(mixer: Mixer, everywhere: tuple[int, ...]) -> None:
    """Six by six patches, which windows of four pad to eight by eight."""
    torch.manual_seed(0)
    own: Options = {"img_size": 24, "patch_size": 4, "embed_dim": D, "depth": 2, "num_heads": h}
    own |= {"neck_chans": 5, "use_rel_pos": True, "window_size": 4, "num_classes": 0}
    own |= {"norm_layer": partial(nn.LayerNorm, eps=1e-6)}
    timms: Any = VisionTransformerSAM(**own, global_attn_indexes=everywhere)
    timms.pos_embed.data = timms.pos_embed.data.reshape(1, 36, D)
    sizes: Options = {"image_size": 24, "patch_size": 4, "channels": 3, "dim": D, "heads": h}
    options: Options = {"activation": "gelu", "pool": "none", "head": False, "final_norm": False}
    spec = Classifier(**sizes, **options, depth=2, neck=5, mixer=mixer)
    model = with_weights_of(timms, spec)
    timms.pos_embed.data = timms.pos_embed.data.reshape(1, 6, 6, D)
    images = torch.randn(B, 3, 24, 24, dtype=torch.float64)
    assert_close(model(images), timms.forward_features(images).flatten(2).transpose(1, 2))
