"""Patches with strides, of two sides and of three axes, against naive references."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import cos, prod, sin
from typing import Any

import pytest
import torch
from references import prepare
from torch import Tensor
from torch.testing import assert_close

from vitprof.errors import SpecError
from vitprof.formulas.models.classifier import Classifier
from vitprof.formulas.models.mae import MaskedAutoencoder
from vitprof.modules.models.classifier import VisionTransformer
from vitprof.modules.models.mae import MaskedAutoencoderViT
from vitprof.modules.patches import patchify, sequence_positions
from vitprof.request.specs import specify

Options = dict[str, Any]

B, C, D, h, K = 3, 2, 12, 3, 5  # images, channels, channels of a token, heads, classes
TOKEN: Options = {"channels": C, "dim": D, "depth": 1, "heads": h}
VIDEO: Options = {"image_size": 6, "image_width": 8, "patch_size": 3, "patch_width": 2}
VIDEO |= {"frames": 4, "tubelet": 2}
STEPS, ROWS, COLUMNS = 2, 2, 4  # of the video


@pytest.fixture
def video() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, C, 4, 6, 8, dtype=torch.float64)


def cut(x: Tensor, sides: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """Return the patches of (B, C, ...), each with its pixels in order and the channels last."""
    places = [
        range(0, whole - side + 1, stride)
        for whole, side, stride in zip(x.shape[2:], sides, strides, strict=True)
    ]
    patches = []
    for corner in product(*places):
        pixels = product(*map(range, sides))
        at = [tuple(a + b for a, b in zip(corner, pixel, strict=True)) for pixel in pixels]
        patches.append(torch.stack([_pixel(x, c, one) for one in at for c in range(C)], 1))
    return torch.stack(patches, dim=1)


def _pixel(x: Tensor, channel: int, place: tuple[int, ...]) -> Tensor:
    y = x[:, channel]
    for coordinate in place:
        y = y[:, coordinate]
    return y


@pytest.mark.parametrize(
    ("options", "sides", "strides", "tokens"),
    [
        ({"patch_stride": 2}, (4, 4), (2, 2), 4 * 6),
        ({"patch_stride": 3, "patch_stride_width": 5}, (4, 4), (3, 5), 3 * 3),
        ({"patch_stride_width": 1}, (4, 4), (4, 1), 2 * 12),
        ({"patch_width": 7, "patch_stride": 6}, (4, 7), (6, 6), 2 * 2),
    ],
)
@torch.no_grad()
def test_patches_with_a_stride(
    options: Options, sides: tuple[int, int], strides: tuple[int, int], tokens: int
) -> None:
    spec = Classifier(image_size=11, image_width=15, patch_size=4, **TOKEN, **options)
    stem: Any = VisionTransformer(spec).patch_embed
    prepare(stem)
    x = torch.randn(B, C, 11, 15, dtype=torch.float64)
    patches = cut(x, sides, strides)
    assert patches.shape[1] == spec.patches == tokens
    kernel = stem.proj.weight.movedim(1, -1).flatten(1)
    assert_close(stem(x), patches @ kernel.T + stem.proj.bias)


@torch.no_grad()
def test_patches_of_two_sides() -> None:
    spec = Classifier(image_size=6, image_width=8, patch_size=3, patch_width=2, **TOKEN)
    stem: Any = VisionTransformer(spec).patch_embed
    prepare(stem)
    x = torch.randn(B, C, 6, 8, dtype=torch.float64)
    patches = cut(x, (3, 2), (3, 2))
    assert patches.shape[1] == spec.patches == 2 * 4
    assert_close(stem(x), patches @ stem.proj.weight.T + stem.proj.bias)
    assert_close(patchify(x, (3, 2)), patches)


@torch.no_grad()
def test_tubelets_of_a_video(video: Tensor) -> None:
    spec = Classifier(**VIDEO, **TOKEN, pool="mean", classes=K)
    module: Any = VisionTransformer(spec)
    prepare(module)
    patches = cut(video, (2, 3, 2), (2, 3, 2))
    assert patches.shape == (B, STEPS * ROWS * COLUMNS, 2 * 3 * 2 * C)
    assert_close(patchify(video, (2, 3, 2)), patches)
    kernel = module.patch_embed.proj.weight.movedim(1, -1).flatten(1)
    tokens = patches @ kernel.T + module.patch_embed.proj.bias
    assert_close(module.patch_embed(video), tokens)
    (block,) = module.blocks
    assert_close(module(video), module.head(module.norm(block(tokens + module.pos_embed)).mean(1)))


@pytest.mark.parametrize("dim", [6, 7])
def test_positions_of_a_video_are_those_of_a_sequence(dim: int) -> None:
    table = sequence_positions(5, dim, prefix_tokens=2)[0]
    assert table.shape == (2 + 5, dim)
    assert not table[:2].any()
    for n, k in product(range(5), range(dim)):
        angle = n / 10000 ** (2 * (k // 2) / dim)
        wave = cos(angle) if k % 2 else sin(angle)
        assert_close(table[2 + n, k].item(), wave, rtol=0, atol=1e-6)


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("predict_kept", [True, False])
@torch.no_grad()
def test_whole_tubes_of_a_video_are_dropped(
    video: Tensor, class_token: bool, predict_kept: bool
) -> None:
    sizes: Options = {"decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2}
    spec = MaskedAutoencoder(
        **VIDEO,
        **TOKEN,
        **sizes,
        mask_ratio=Fraction("0.6"),
        class_token=class_token,
        predict_kept=predict_kept,
        decoder_embed_bias=False,
    )
    module: Any = MaskedAutoencoderViT(spec).double().eval()
    assert module.decoder_embed.bias is None
    seen: list[Tensor] = []
    module.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    loss, prediction, mask = module(video)
    places = ROWS * COLUMNS
    kept = places - int(places * 0.6)
    assert spec.kept == STEPS * kept == seen[0].shape[1] - class_token
    by_step = mask.reshape(B, STEPS, places)
    assert torch.equal(by_step, by_step[:, :1].expand(-1, STEPS, -1))
    assert by_step.sum(2).tolist() == [[places - kept] * STEPS] * B
    target = cut(video, (2, 3, 2), (2, 3, 2))
    embedded = module.patch_embed(video) + module.pos_embed[:, int(class_token) :]
    for b in range(B):
        tokens = {*map(tuple, seen[0][b, int(class_token) :].tolist())}
        there = [tuple(token) in tokens for token in embedded[b].tolist()]
        assert there == (mask[b] == 0).tolist()
    if predict_kept:
        assert prediction.shape == target.shape
        errors = (prediction - target).square().mean(-1)[mask == 1]
        assert_close(loss, errors.mean())
        return
    dropped = prod(spec.grid) - spec.kept
    assert prediction.shape == (B, dropped, 2 * 3 * 2 * C)


@torch.no_grad()
def test_what_is_predicted_of_dropped_patches_alone_is_what_all_have_there(video: Tensor) -> None:
    sizes: Options = {"decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2, "depth": 1}
    whole = MaskedAutoencoder(**VIDEO, **{**TOKEN, **sizes}, mask_ratio=Fraction("0.6"))
    part = MaskedAutoencoder(
        **VIDEO, **{**TOKEN, **sizes}, mask_ratio=Fraction("0.6"), predict_kept=False
    )
    modules = [MaskedAutoencoderViT(spec).double().eval() for spec in (whole, part)]
    modules[1].load_state_dict(modules[0].state_dict())
    found = []
    for module in modules:
        torch.manual_seed(3)
        found.append(module(video))
    (loss, prediction, mask), (loss_of_part, dropped, mask_of_part) = found
    assert torch.equal(mask, mask_of_part)
    assert_close(loss, loss_of_part)
    for b in range(B):
        rows = {tuple(row) for row in dropped[b].mul(1e6).round().tolist()}
        there = {tuple(row) for row in prediction[b][mask[b] == 1].mul(1e6).round().tolist()}
        assert rows == there


@torch.no_grad()
def test_the_mean_of_two_tokens_is_normed_before_the_head() -> None:
    spec = Classifier(**TOKEN, image_size=6, patch_size=3, pool="both", head_norm=True, classes=K)
    module: Any = VisionTransformer(spec)
    prepare(module)
    x = torch.randn(B, C, 6, 6, dtype=torch.float64)
    patches = module.patch_embed(x)
    tokens = [token.expand(B, -1, -1) for token in (module.cls_token, module.dist_token)]
    y = module.norm(module.blocks[0](torch.cat([*tokens, patches], dim=1) + module.pos_embed))
    assert_close(module(x), module.head(module.head_norm((y[:, 0] + y[:, 1]) / 2)))


REFUSED: list[tuple[str, Options, str]] = [
    (
        "classifier",
        {"image_size": 8, "patch_size": 9, "patch_stride": 2},
        "patch size 9 is larger than image size 8, so that there is no patch; give at most 8",
    ),
    (
        "classifier",
        {"image_size": 8, "patch_size": 4, "patch_width": 9, "patch_stride": 2},
        "patch width 9 is larger than image width 8, so that there is no patch; give at most 8",
    ),
    (
        "classifier",
        {"image_size": 8, "image_width": 12, "patch_size": 4, "patch_width": 5},
        "image width 12 is not divisible by patch width 5; patch width can be 1, 2, 3, 4, 6 or 12",
    ),
    (
        "classifier",
        {"stem": "conv", "patch_stride": 2},
        "patch stride 2 has no effect with stem conv; leave it out, or give stem patch",
    ),
    (
        "classifier",
        {"stem": "conv", "image_size": 8, "patch_size": 4, "patch_width": 2},
        "stem conv halves images along both axes, and patches of 4 x 2 are not square; give stem "
        "patch, or leave out patch width and frames",
    ),
    (
        "classifier",
        {"frames": 4, "tubelet": 3},
        "frames 4 is not divisible by tubelet 3; tubelet can be 1, 2 or 4",
    ),
    (
        "classifier",
        {"tubelet": 2},
        "frames 1 is not divisible by tubelet 2; tubelet can be 1",
    ),
    (
        "classifier",
        {"frames": 4, "pos_embed": "fourier"},
        "pos embed fourier is of rows and columns, and a video has frames too; give pos embed "
        "learned, fixed or none",
    ),
    (
        "classifier",
        {"frames": 4, "pool": "none", "head": False, "neck": 5},
        "neck 5 is a convolution of rows and columns, and a video has frames too; give neck 0",
    ),
    (
        "mae",
        {"mask_ratio": "0", "predict_kept": False},
        "mask ratio 0 drops none of 1024 patches, so that nothing is predicted; raise it, or "
        "give --predict-kept",
    ),
]


@pytest.mark.parametrize(("model", "options", "sentence"), REFUSED, ids=str)
def test_what_cannot_be_cut_is_refused(model: str, options: Options, sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        specify(model, options=options)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("mixer", ["conv", "pool", "filter", "window"])
def test_mixers_of_neighbours_have_no_grid_of_a_video(mixer: str) -> None:
    with pytest.raises(SpecError, match="because the patches of a video have frames beside rows"):
        specify("classifier", mixer=mixer, options={"frames": 4, "pool": "mean"})
    with pytest.raises(SpecError, match="because the patches of a video have frames beside rows"):
        specify("classifier", options={"frames": 4, "rope": "axial"})
