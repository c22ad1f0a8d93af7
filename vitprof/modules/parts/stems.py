"""Stems; `vitprof.formulas.parts.stems` describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.formulas.parts.stems import sides
from vitprof.modules.parts.activations import ACTIVATIONS
from vitprof.modules.parts.norms import make_norm
from vitprof.modules.patches import make_conv, patchify

if TYPE_CHECKING:
    from vitprof.formulas.models.classifier import Classifier


def make_stem(spec: Classifier) -> nn.Module:
    """Return the stem that the options select: images (B, C, H, W) to (B, patches, D)."""
    return _STEMS[spec.stem_kind(len(spec.patch))](spec)


class FlatPatchEmbed(nn.Module):
    """A linear layer on the pixels of each patch, with optional activation and norm."""

    def __init__(self, spec: Classifier) -> None:
        super().__init__()
        self.patch = [side.value for side in spec.patch]
        self.proj = nn.Linear(spec.pixels.value, spec.dim, bias=spec.patch_bias)
        self.act, self.norm = _after(spec)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.norm(self.act(self.proj(patchify(image_BCHW, self.patch))))


class StridedPatchEmbed(nn.Module):
    """A convolution of images or videos, with a stride, and optional activation and norm."""

    def __init__(self, spec: Classifier) -> None:
        super().__init__()
        kernel = [side.value for side in spec.patch]
        bias = spec.patch_bias
        self.proj = make_conv(spec.channels, spec.dim, kernel, spec.strides, bias=bias)
        self.act, self.norm = _after(spec)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.norm(self.act(self.proj(image_BCHW).flatten(2).transpose(1, 2)))


class ConvStem(nn.Module):
    """Convolutions of stride 2 with BatchNorm, and an optional activation and norm of tokens."""

    def __init__(self, spec: Classifier) -> None:
        super().__init__()
        self.convolutions = 0
        width = spec.channels
        for place, side in enumerate(sides(spec.patch_size), 1):
            before, width = width, spec.dim // side
            if place > 1:
                self.add_module(f"act{place - 1}", ACTIVATIONS[spec.activation]())
            conv = nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False)
            self.add_module(f"conv{place}", conv)
            self.add_module(f"norm{place}", nn.BatchNorm2d(width))
            self.convolutions = place
        self.act, self.norm = _after(spec)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        x_BCHW = image_BCHW
        for place in range(1, self.convolutions + 1):
            if place > 1:
                x_BCHW = self.get_submodule(f"act{place - 1}")(x_BCHW)
            x_BCHW = self.get_submodule(f"conv{place}")(x_BCHW)
            x_BCHW = self.get_submodule(f"norm{place}")(x_BCHW)
        x_BND = x_BCHW.flatten(2).transpose(1, 2)
        del x_BCHW  # frees it after the activation in inference
        x_BND = self.act(x_BND)
        return self.norm(x_BND)


def _after(spec: Classifier) -> tuple[nn.Module, nn.Module]:
    """Return the activation and the norm after a stem, identities if there are none."""
    if not spec.patch_norm:
        return nn.Identity(), nn.Identity()
    return ACTIVATIONS[spec.activation](), make_norm(spec, spec.dim)


_STEMS = {"patch": FlatPatchEmbed, "strided": StridedPatchEmbed, "conv": ConvStem}
