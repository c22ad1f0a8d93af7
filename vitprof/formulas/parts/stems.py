"""Stems: from images to one token for each patch.

patch   the flattened pixels of a patch through a linear layer (Dosovitskiy et al. 2020, eq. 1).
        With `patch_stride` the patches overlap, or leave pixels out, and it is a convolution (Gong
        et al. 2021, AST, section 2.1); of a side of n pixels, patches of p with stride s are
        floor((n - p) / s) + 1. So it is for a video, along three axes (Arnab et al. 2021, ViViT,
        section 3.2).
conv    convolutions of 3 x 3 with stride 2, each with BatchNorm, and an activation between two of
        them, until a patch is one position (El-Nouby et al. 2021, XCiT; Graham et al. 2021, LeViT,
        section 3). Their widths double up to D: of a patch of 16 pixels, D/8, D/4, D/2 and D.

With `patch_norm`, an activation and a norm of each token follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from vitprof.formulas.op import Shape
from vitprof.formulas.parts.activations import activate
from vitprof.formulas.parts.mlps import MlpOptions
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, choice, flag, near_multiples, needing, whole
from vitprof.values.size import Size

STEMS = ("patch", "conv")
TYPES = {  # -> class
    "patch": "FlatPatchEmbed",
    "strided": "StridedPatchEmbed",
    "conv": "ConvStem",
}
_KERNEL = (Size(3), Size(3))


@dataclass(slots=True)
class Patches:
    """Patches that a stem makes tokens of; immutable by convention.

    Attributes:
        sides: sides of a patch along each axis, in frames and pixels.
        grid: patches along each axis, such as rows and columns.
        number: number of patches.
        dim: channels of a token.
        flatten: cuts images into patches: (B, number, side × side × channels).
    """

    sides: Shape
    grid: Shape
    number: Size
    dim: Size
    flatten: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class StemOptions(MlpOptions):
    """The stem of a model of images."""

    stem: str = choice(
        "patch",
        names=STEMS,
        help="embedding of the patches: a linear layer, or convolutions of stride 2, as in XCiT",
    )
    patch_bias: bool = needing(flag(True, help="bias of the patch embedding"), {"stem": ("patch",)})
    patch_stride: int = needing(
        whole(
            0,
            minimum=0,
            help="pixels from one patch to the next, fewer than patch size for patches that "
            "overlap; 0 for patch size",
            unit="pixels",
        ),
        {"stem": ("patch",)},
    )
    patch_stride_width: int = needing(
        whole(
            0,
            minimum=0,
            help="pixels from one patch to the next along the width; 0 for patch stride",
            unit="pixels",
        ),
        {"stem": ("patch",)},
    )
    patch_norm: bool = flag(False, help="activation and norm after the patch embedding")

    def stem_fits(self, patch: Sequence[int], dim: int, heads: int) -> Iterator[Constraint]:
        """Yield the rules that strides of 2 end at one position of a patch, with `dim` channels.

        Args:
            patch: sides of a patch along each axis.
            dim: channels of a token.
            heads: number that divides the channels.
        """
        if self.stem == "conv":
            side, *others = patch
            yield Constraint(
                others == [side],
                lambda: (
                    f"stem conv halves images along both axes, and patches of {_by(patch)} are "
                    "not square; give stem patch, or leave out patch width and frames"
                ),
            )
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
        kind = self.stem_kind(len(patches.sides))
        forward = partial(self._stem, run, kind, patches)
        return run.layer("patch_embed", TYPES[kind], forward, x)

    @property
    def is_strided(self) -> bool:
        """True if a stride of the patches is given."""
        return self.stem == "patch" and bool(self.patch_stride or self.patch_stride_width)

    def stem_kind(self, axes: int) -> str:
        """Return the stem, a key of `TYPES`, for patches of a number of axes."""
        convolved = self.is_strided or (axes > 2 and self.stem == "patch")
        return "strided" if convolved else self.stem

    def _stem(self, run: Run, kind: str, patches: Patches, x: Tensor) -> Tensor:
        x = _STEMS[kind](self, run, patches, x)
        if not self.patch_norm:
            return x
        x = activate(run, self.activation, x)
        return self.normalise(run, "norm", x)


def _flat(options: StemOptions, run: Run, patches: Patches, x: Tensor) -> Tensor:
    return run.linear("proj", patches.flatten(x), patches.dim, bias=options.patch_bias)


def _strided(options: StemOptions, run: Run, patches: Patches, x: Tensor) -> Tensor:
    B, D, bias = x.shape[0], patches.dim, options.patch_bias
    x = run.conv("proj", x, D, patches.sides, positions=patches.grid, bias=bias)
    return x.reshape(B, D, patches.number).transpose(1, 2)


def _conv(options: StemOptions, run: Run, patches: Patches, x: Tensor) -> Tensor:
    B, D, (rows, columns) = x.shape[0], patches.dim, patches.grid
    for place, side in enumerate(
        sides(patches.sides[0].value), 1
    ):  # of a patch after this convolution
        if place > 1:
            x = activate(run, options.activation, x, f"act{place - 1}")
        width, positions = D if side == 1 else D // side, (side * rows, side * columns)
        x = run.conv(f"conv{place}", x, width, _KERNEL, positions=positions, bias=False)
        x = run.batch_norm(f"norm{place}", x)
    return x.reshape(B, D, patches.number).transpose(1, 2)


def _by(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))


def sides(patch: int) -> list[int]:
    """Return the side of a patch after each convolution of stride 2, of 8 pixels 4, 2 and 1."""
    return [1 << power for power in reversed(range(patch.bit_length() - 1))]


_STEMS: dict[str, Callable[[StemOptions, Run, Patches, Tensor], Tensor]] = {
    "patch": _flat,
    "strided": _strided,
    "conv": _conv,
}
