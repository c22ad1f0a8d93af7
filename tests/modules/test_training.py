"""Training: every model learns with every mixer, and the masked autoencoder masks correctly."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import cos, sin
from typing import Any, NamedTuple

import pytest
import torch
from spellings import SOME, Spelling, needed_options
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, mse_loss
from torch.testing import assert_close

from vitprof.formulas.model import Model
from vitprof.formulas.models.classifier import Classifier
from vitprof.formulas.models.mae import MaskedAutoencoder
from vitprof.modules.build import build
from vitprof.modules.models.classifier import VisionTransformer
from vitprof.modules.models.mae import MaskedAutoencoderViT
from vitprof.request.specs import specify

Options = dict[str, object]

TINY: dict[str, Options] = {
    "mae": {"image_size": 12, "patch_size": 4, "dim": 24, "depth": 1, "heads": 3}
    | {"decoder_dim": 20, "decoder_depth": 1, "decoder_heads": 5, "mask_ratio": "0.5"},
    "classifier": {"image_size": 12, "patch_size": 4, "dim": 18, "depth": 2, "heads": 3},
    "pyramid": {"image_size": 12, "patch_size": 2, "stage_heads": (1, 3)}
    | {"depths": (1, 2), "widths": (12, 24)},
    "layer": {"tokens": 7, "dim": 18, "heads": 3},
}

XCIT: Options = {"stem": "conv", "pos_embed": "fourier", "patch_interaction": True}
XCIT |= {"pool": "class", "class_layer": "xcit"}
CAIT: Options = {"pool": "class", "talking_heads": True, "final_norm_tokens": "all"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run on one thread: at small sizes more threads only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def loss_of(model: str, given: Tensor, output: Tensor | tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return a loss: the masked autoencoder's, of two classes, or of tokens to be reversed."""
    if isinstance(output, tuple):
        return output[0]
    if model in ("classifier", "pyramid"):
        return cross_entropy(output, torch.arange(len(given)))
    return mse_loss(output, given.flip(1))


# Of the mixers' options, every third.
TRAINED = [one for place, one in enumerate(SOME) if not one.variant or place % 3 == 0]


@pytest.mark.parametrize("spelling", TRAINED, ids=str)
def test_loss_falls(spelling: Spelling) -> None:
    needed = needed_options(spelling.model, spelling.mixer, spelling.variant)
    assert_loss_falls(spelling.specify({**TINY[spelling.model], **needed}))


@pytest.mark.parametrize("turned", [XCIT, CAIT], ids=["xcit", "cait"])
def test_loss_falls_with_class_attention(turned: Options) -> None:
    options = {**TINY["classifier"], "dim": 18, "layer_scale": True, **turned}
    mixer = "xca" if turned is XCIT else "attn"
    assert_loss_falls(specify("classifier", mixer=mixer, options=options))


def assert_loss_falls(spec: Model) -> None:
    torch.manual_seed(0)
    module = build(spec)
    batch = torch.randn(spec.input_shape(2))
    fixed = {name: p.clone() for name, p in module.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        torch.manual_seed(0)  # the same mask at each step
        loss = loss_of(spec.name, batch, module(batch))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < losses[0] / 2:
            break
    assert losses[-1] < losses[0] / 2
    for name, parameter in module.named_parameters():
        if name in fixed:
            assert torch.equal(parameter, fixed[name]), name
        else:
            assert parameter.grad is not None, name


# Below, images of 5 × 5 patches of 2 × 2 pixels in 3 channels.
SIDE, PATCH, PATCHES, CHANNELS, IMAGES = 5, 2, 25, 3, 4


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(IMAGES, CHANNELS, SIDE * PATCH, SIDE * PATCH)


def square(images: Tensor, image: int, patch: int) -> Tensor:
    """Return a view of one patch, (channels, 2, 2); patches are numbered row by row."""
    top, left = (PATCH * place for place in divmod(patch, SIDE))
    return images[image, :, top : top + PATCH, left : left + PATCH]


def pixels(images: Tensor, image: int, patch: int) -> Tensor:
    """Return a flattened patch: pixels row by row, channels last."""
    return square(images, image, patch).permute(1, 2, 0).flatten()


def test_classifier_reads_its_class_token(images: Tensor) -> None:
    torch.manual_seed(0)
    spec = Classifier(image_size=SIDE * PATCH, patch_size=PATCH, channels=CHANNELS, depth=2)
    model = VisionTransformer(spec)
    first, last, norm = model.blocks[0], model.blocks[-1], model.norm
    held: list[Tensor] = []
    first.register_forward_pre_hook(lambda _, given: held.append(given[0]))
    last.register_forward_hook(lambda _, given, output: held.append(output))
    logits = model(images)
    tokens, output = held
    assert model.pos_embed is not None
    assert model.head is not None
    assert_close(tokens[:, 0], (model.cls_token + model.pos_embed[:, :1])[0].expand(IMAGES, -1))
    for b in range(IMAGES):
        for i in range(PATCHES):
            embedded = model.get_submodule("patch_embed.proj")(pixels(images, b, i))
            assert_close(tokens[b, 1 + i], embedded + model.pos_embed[0, 1 + i])
    assert_close(logits, model.head(norm(output[:, 0])))


def mae(mask_ratio: str = "0.75") -> MaskedAutoencoderViT:
    torch.manual_seed(0)
    return MaskedAutoencoderViT(
        MaskedAutoencoder(
            image_size=SIDE * PATCH,
            patch_size=PATCH,
            channels=CHANNELS,
            dim=24,
            depth=1,
            heads=3,
            decoder_dim=20,
            decoder_depth=1,
            decoder_heads=5,
            mask_ratio=Fraction(mask_ratio),
        )
    )


class Pass(NamedTuple):
    """Output and intermediate tensors of a forward pass."""

    loss: Tensor
    prediction: Tensor
    mask: Tensor
    encoder_input: Tensor
    encoded: Tensor
    decoder_input: Tensor
    decoded: Tensor


def forward(model: MaskedAutoencoderViT, images: Tensor) -> Pass:
    """Run `model` with the same random mask each time."""
    held: list[Tensor] = []
    hooks = [
        model.blocks[0].register_forward_pre_hook(lambda _, given: held.append(given[0])),
        model.norm.register_forward_hook(lambda _, given, output: held.append(output)),
        model.decoder_blocks[0].register_forward_pre_hook(lambda _, given: held.append(given[0])),
        model.decoder_pred.register_forward_hook(lambda _, given, output: held.append(output)),
    ]
    torch.manual_seed(2)
    with torch.no_grad():
        returned = model(images)
    for hook in hooks:
        hook.remove()
    return Pass(*returned, *held)


@pytest.mark.parametrize(
    ("mask_ratio", "kept"),
    # 25 × (1 - ratio), rounded down.
    [("0", 25), ("0.3", 17), ("0.75", 6), ("0.99", 0)],
)
def test_mask_has_its_share_of_each_image(images: Tensor, mask_ratio: str, kept: int) -> None:
    seen = forward(mae(mask_ratio), images)
    assert seen.mask.shape == (IMAGES, PATCHES)
    assert ((seen.mask == 0) | (seen.mask == 1)).all()
    assert seen.mask.sum(1).tolist() == [PATCHES - kept] * IMAGES
    assert seen.encoder_input.shape == (IMAGES, kept + 1, 24)
    assert seen.decoder_input.shape == (IMAGES, PATCHES + 1, 20)


def test_mask_is_drawn_for_each_image(images: Tensor) -> None:
    mask = forward(mae(), images).mask
    assert len({tuple(row) for row in mask.tolist()}) == IMAGES


def test_loss_is_the_mean_over_dropped_patches(images: Tensor) -> None:
    model = mae()
    seen = forward(model, images)
    errors = [
        mse_loss(seen.prediction[b, i], pixels(images, b, i))
        for b in range(IMAGES)
        for i in range(PATCHES)
        if seen.mask[b, i]
    ]
    assert_close(seen.loss, torch.stack(errors).mean())


def test_nothing_dropped_costs_nothing(images: Tensor) -> None:
    assert forward(mae("0"), images).loss == 0


def first(mask: Tensor, value: int) -> tuple[int, int]:
    """Return the first image and patch with this value in the mask."""
    image, patch = (mask == value).nonzero()[0].tolist()
    return image, patch


def test_loss_compares_dropped_patches_alone(images: Tensor) -> None:
    model = mae()
    seen = forward(model, images)
    for value, counts in ((0, False), (1, True)):
        other = images.clone()
        square(other, *first(seen.mask, value)).add_(1)
        assert (model.loss(other, seen.prediction, seen.mask) != seen.loss) == counts


def test_predictions_come_from_kept_patches_alone(images: Tensor) -> None:
    model = mae()
    seen = forward(model, images)
    for value, counts in ((0, True), (1, False)):
        other = images.clone()
        image, patch = first(seen.mask, value)
        square(other, image, patch).add_(1)
        changed = (forward(model, other).prediction != seen.prediction).any(dim=(1, 2))
        assert changed.tolist() == [counts and b == image for b in range(IMAGES)]


def test_every_patch_has_its_own_place(images: Tensor) -> None:
    """Follow each patch by its value into the encoder, and back to its position in the decoder."""
    model = mae()
    seen = forward(model, images)
    conv: Any = model.patch_embed.proj
    embed = model.decoder_embed
    assert model.pos_embed is not None
    assert model.decoder_pos_embed is not None
    assert_close(seen.encoder_input[:, 0], model.cls_token[0].expand(IMAGES, -1))
    assert_close(seen.decoder_input[:, 0], embed(seen.encoded[:, 0]))
    assert_close(seen.prediction, seen.decoded[:, 1:])
    for b in range(IMAGES):
        for i in range(PATCHES):
            embedded = linear(square(images, b, i).flatten(), conv.weight.flatten(1), conv.bias)
            embedded = embedded + model.pos_embed[0, 1 + i]
            distance = (seen.encoder_input[b] - embedded).abs().amax(dim=1)
            place = int(distance.argmin())
            is_kept = bool(distance[place] < 1e-5)
            assert is_kept == (seen.mask[b, i] == 0)
            token = embed(seen.encoded[b, place]) if is_kept else model.mask_token[0, 0]
            assert_close(seen.decoder_input[b, 1 + i], token + model.decoder_pos_embed[0, 1 + i])


def test_positions_are_fixed_waves_of_column_and_row() -> None:
    """He et al. 2021; the order, columns first, is that of their published code."""
    model = mae()
    for table in (model.pos_embed, model.decoder_pos_embed):
        assert table is not None
        assert not table.requires_grad
        _, tokens, dim = table.shape
        assert tokens == 1 + PATCHES
        assert not table[0, 0].any()  # the class token has no position
        frequencies = [10000 ** -(i / (dim / 4)) for i in range(dim // 4)]
        for patch in range(PATCHES):
            row, column = divmod(patch, SIDE)
            waves = [
                wave(at * f) for at in (column, row) for wave in (sin, cos) for f in frequencies
            ]
            assert_close(table[0, 1 + patch], torch.tensor(waves))
