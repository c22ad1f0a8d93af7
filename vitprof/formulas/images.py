"""Base classes of models of images and videos: options, patches on a grid and their positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from vitprof.formulas.model import Model
from vitprof.formulas.op import Shape
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.derived import derived
from vitprof.values.options import Constraint, choice, divides, flag, near_multiples, needing, whole
from vitprof.values.size import ONE, Size, product

POSITIONS = ("learned", "fixed", "none")


def image_size_option(default: int) -> Any:
    """Declare the height of an image, which is also its width if it is square."""
    return whole(
        default,
        symbol="image",
        help="height of the image in pixels, and its width if image width is 0",
        grows=4_096,
        multiple_of="patch_size",
        unit="pixels",
    )


def channels_option(default: int) -> Any:
    """Declare the channels of an image."""
    return whole(default, symbol="channels", help="channels of the image", grows=1_024, convex=True)


def patch_size_option(default: int) -> Any:
    """Declare the side of a square patch."""
    return whole(default, symbol="patch", help="side of a square patch in pixels", unit="pixels")


def pos_embed_option(default: str, *others: str) -> Any:
    """Declare the position embedding that is added to the tokens; `others` are more kinds."""
    names = (*POSITIONS, *others)
    return choice(default, names=names, help="position embedding added to the tokens")


def final_norm_option() -> Any:
    """Declare a norm after the last block."""
    return flag(True, help="a norm after the last block")


@dataclass(frozen=True, kw_only=True)
class GridModel(Model):
    """A model of images that are cut into patches on a grid."""

    task: ClassVar[tuple[str, ...]] = ("image_size", "image_width", "channels")

    image_size: int = image_size_option(224)
    image_width: int = whole(
        0,
        minimum=0,
        help="width of an image that is not square; 0 for a square one",
        grows=4_096,
        multiple_of="patch_size",
        unit="pixels",
    )
    channels: int = channels_option(3)
    patch_size: int = patch_size_option(16)

    def constraints(self) -> Iterator[Constraint]:
        yield from self.cut_fits()
        yield from super().constraints()

    def cut_fits(self) -> Iterator[Constraint]:
        """Yield the rules that the sides of an image are cut into patches."""
        height, width, patch = self.image_size, self.width, self.patch_size
        yield divides("image_size", height, "patch_size", patch, beside=width)
        yield divides("image_width", width, "patch_size", patch, beside=height)

    @derived
    def grid(self) -> tuple[int, ...]:
        """Rows and columns of patches, as numbers."""
        return self.image_size // self.patch_size, self.width // self.patch_size

    @property
    def width(self) -> int:
        """Width of an image, in pixels."""
        return self.image_size if self.is_square else self.image_width

    @property
    def is_square(self) -> bool:
        """True if images are as wide as they are high; an array or a symbol is a width."""
        return isinstance(self.image_width, int) and self.image_width == 0

    @derived
    def patches(self) -> int:
        """Number of patches of an image."""
        return prod(self.grid)

    def input(self, batch: Size) -> Shape:
        height = self.size("image_size")
        width = height if self.is_square else Size(self.image_width, "width")
        return (batch, self.size("channels"), height, width)

    @derived
    def axes(self) -> Shape:
        """Patches along each axis, as named sizes: rows and columns."""
        names = ("steps", "rows", "columns")[-len(self.grid) :]
        return tuple([Size(*one) for one in zip(self.grid, names, strict=True)])

    @derived
    def sides(self) -> tuple[Size, Size] | None:
        """Rows and columns of patches, as named sizes; None if they have a third axis."""
        return (self.axes[0], self.axes[1]) if len(self.axes) == 2 else None


@dataclass(frozen=True, kw_only=True)
class ImageModel(GridModel):
    """A model whose tokens are flattened patches with positions.

    With several `frames`, the input is a video (B, C, T, H, W), and a patch has a third axis, of
    `tubelet` frames (Arnab et al. 2021, ViViT, section 3.2).

    Positions are a table of parameters, trained or fixed. Fixed ones are sines and cosines of
    both axes, for which `dim` has to be divisible by 4; of a video, those of the place in the
    sequence of all patches (Tong et al. 2022, VideoMAE, by `get_sinusoid_encoding_table` of its
    code; Vaswani et al. 2017, section 3.5).
    """

    task: ClassVar[tuple[str, ...]] = (*GridModel.task, "frames")

    patch_width: int = whole(
        0, minimum=0, help="width of a patch that is not square; 0 for a square one", unit="pixels"
    )
    frames: int = whole(
        1,
        maximum=10_000,
        help="frames of a video; 1 for an image",
        grows=1_024,
        multiple_of="tubelet",
        unit="frames",
    )
    tubelet: int = whole(1, maximum=10_000, help="frames of a patch of a video", unit="frames")
    patch_bias: bool = flag(True, help="bias of the patch embedding")
    pos_embed: str = pos_embed_option("learned")
    pos_embed_token: bool = needing(
        flag(True, help="position embedding for the prefix tokens too"),
        {"pos_embed": ("learned", "fixed"), "pool": ("token", "both")},
        {"pos_embed": ("learned", "fixed"), "class_token": (True,)},
    )
    final_norm: bool = final_norm_option()

    @property
    def has_table(self) -> bool:
        """True if a table of positions is added to the tokens."""
        return self.pos_embed in ("learned", "fixed")

    def table(self, run: Run, name: str, tokens: Size, dim: Size) -> Tensor:
        """Return the parameter with the positions of the tokens: (1, tokens, dim)."""
        return run.parameter(name, ONE, tokens, dim, trained=self.pos_embed == "learned")

    def cut_fits(self) -> Iterator[Constraint]:
        if self.has_square_patches:
            yield from super().cut_fits()
        else:
            yield divides("image_size", self.image_size, "patch_size", self.patch_size)
            yield divides("image_width", self.width, "patch_width", self.patch_width)
        yield divides("frames", self.frames, "tubelet", self.tubelet)

    @property
    def has_square_patches(self) -> bool:
        """True if patches are as wide as they are high; an array or a symbol is a width."""
        return isinstance(self.patch_width, int) and self.patch_width == 0

    @property
    def is_video(self) -> bool:
        """True if the input has several frames."""
        return self.frames > 1

    @derived
    def patch(self) -> Shape:
        """Sides of a patch along each axis: frames of a video, height and width."""
        height = self.size("patch_size")
        width = height if self.has_square_patches else Size(self.patch_width, "patch width")
        return (Size(self.tubelet, "tubelet"), height, width) if self.is_video else (height, width)

    @derived
    def grid(self) -> tuple[int, ...]:
        """Patches along each axis, as numbers: steps in time of a video, rows and columns."""
        sides = zip(self.pixels_along, self.patch, strict=True)
        return tuple([whole // side.value for whole, side in sides])

    @property
    def pixels_along(self) -> tuple[int, ...]:
        """Frames of a video, height and width of the input."""
        sides = (self.image_size, self.width)
        return (self.frames, *sides) if self.is_video else sides

    def input(self, batch: Size) -> Shape:
        B, C, *sides = super().input(batch)
        return (B, C, *([Size(self.frames, "frames")] if self.is_video else []), *sides)

    @derived
    def pixels(self) -> Size:
        """Elements of a patch: patch × patch × channels."""
        return product((*self.patch, self.size("channels")))

    @property
    def off_grid(self) -> str:
        """Reason for having no grid of rows and columns; empty if there is one."""
        return "the patches of a video have frames beside rows and columns" if self.is_video else ""

    def patchify(self, image: Tensor) -> Tensor:
        """Cut images into patches, row by row: (B, patches, patch × patch × channels)."""
        B, C = image.shape[:2]
        cut = [size for axis in zip(self.axes, self.patch, strict=True) for size in axis]
        places, within = range(2, len(cut) + 2, 2), range(3, len(cut) + 3, 2)
        grid = image.reshape(B, C, *cut).permute(0, *places, *within, 1)
        return grid.reshape(B, Size(self.patches, "patches"), self.pixels)

    def sines_fit(self, dim_name: str, dim: int, heads: int) -> Iterator[Constraint]:
        """Yield the rule that 4 divides `dim` if positions of two axes are fixed."""
        if self.pos_embed == "fixed" and not self.is_video:
            yield Constraint(
                dim % 4 == 0,
                lambda: (
                    f"{dim_name} {dim} is not divisible by 4, which sines and cosines of two axes "
                    f"need; with these heads {dim_name} can be {near_multiples(dim, 4, heads)}"
                ),
            )
