"""Stems: from images to one token for each patch.

patch   the flattened pixels of a patch through a linear layer (Dosovitskiy et al. 2020, eq. 1)
conv    convolutions of 3 x 3 with stride 2, each with BatchNorm, and an activation between two of
        them, until a patch is one position (El-Nouby et al. 2021, XCiT; Graham et al. 2021, LeViT,
        section 3). Their widths double up to D: of a patch of 16 pixels, D/8, D/4, D/2 and D.

With `patch_norm`, an activation and a norm of each token follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from vitprof.formulas.parts.activations import activate
from vitprof.formulas.parts.mlps import MlpOptions
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, choice, flag, near_multiples, needing
from vitprof.values.size import Size

TYPES = {"patch": "FlatPatchEmbed", "conv": "ConvStem"}  # -> class
_KERNEL = (Size(3), Size(3))


@dataclass(slots=True)
class Patches:
    """Patches that a stem makes tokens of; immutable by convention.

    Attributes:
        side: side of a patch in pixels.
        grid: rows and columns of patches.
        number: number of patches.
        dim: channels of a token.
        flatten: cuts images into patches: (B, number, side × side × channels).
    """

    side: int
    grid: tuple[Size, Size]
    number: Size
    dim: Size
    flatten: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class StemOptions(MlpOptions):
    """The stem of a model of images."""

    stem: str = choice(
        "patch",
        names=tuple(TYPES),
        help="embedding of the patches: a linear layer, or convolutions of stride 2, as in XCiT",
    )
    patch_bias: bool = needing(flag(True, help="bias of the patch embedding"), {"stem": ("patch",)})
    patch_norm: bool = flag(False, help="activation and norm after the patch embedding")

    def stem_fits(self, side: int, dim: int, heads: int) -> Iterator[Constraint]:
        """Yield the rules that strides of 2 end at one position of a patch, with `dim` channels."""
        if self.stem == "conv":
            yield Constraint(
                side > 1 and side & (side - 1) == 0,
                lambda: (
                    f"patch size {side} is not 2 or a higher power of 2, and each convolution of "
                    "stem conv halves the image; give patch size 2, 4, 8, 16 or 32, or stem patch"
                ),
            )
            first = side // 2
            yield Constraint(
                dim % first == 0,
                lambda: (
                    f"dim {dim} is not divisible by {first}, and the first convolution of stem "
                    f"conv has dim / {first} channels with patch size {side}; with these heads dim "
                    f"can be {near_multiples(dim, first, heads)}"
                ),
            )

    def run_stem(self, run: Run, x: Tensor, patches: Patches) -> Tensor:
        """Run the stem on images (B, C, H, W) as the submodule `patch_embed`: to (B, N, D)."""
        forward = partial(self._stem, run, patches)
        return run.layer("patch_embed", TYPES[self.stem], forward, x)

    def _stem(self, run: Run, patches: Patches, x: Tensor) -> Tensor:
        x = _STEMS[self.stem](self, run, patches, x)
        if not self.patch_norm:
            return x
        x = activate(run, self.activation, x)
        return self.normalise(run, "norm", x)


def _flat(options: StemOptions, run: Run, patches: Patches, x: Tensor) -> Tensor:
    return run.linear("proj", patches.flatten(x), patches.dim, bias=options.patch_bias)


def _conv(options: StemOptions, run: Run, patches: Patches, x: Tensor) -> Tensor:
    B, D, (rows, columns) = x.shape[0], patches.dim, patches.grid
    for place, side in enumerate(sides(patches.side), 1):  # of a patch after this convolution
        if place > 1:
            x = activate(run, options.activation, x, f"act{place - 1}")
        width, positions = D if side == 1 else D // side, (side * rows, side * columns)
        x = run.conv(f"conv{place}", x, width, _KERNEL, positions=positions, bias=False)
        x = run.batch_norm(f"norm{place}", x)
    return x.reshape(B, D, patches.number).transpose(1, 2)


def sides(patch: int) -> list[int]:
    """Return the side of a patch after each convolution of stride 2, of 8 pixels 4, 2 and 1."""
    return [1 << power for power in reversed(range(patch.bit_length() - 1))]


_STEMS: dict[str, Callable[[StemOptions, Run, Patches, Tensor], Tensor]] = {
    "patch": _flat,
    "conv": _conv,
}
