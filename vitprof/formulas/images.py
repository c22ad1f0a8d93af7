"""Base classes of image models: options, patches on a grid and their positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
        height, width, patch = self.image_size, self.width, self.patch_size
        yield divides("image_size", height, "patch_size", patch, beside=width)
        yield divides("image_width", width, "patch_size", patch, beside=height)
        yield from super().constraints()

    @derived
    def grid(self) -> tuple[int, int]:
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
        rows, columns = self.grid
        return rows * columns

    def input(self, batch: Size) -> Shape:
        height = self.size("image_size")
        width = height if self.is_square else Size(self.image_width, "width")
        return (batch, self.size("channels"), height, width)

    @derived
    def sides(self) -> tuple[Size, Size]:
        """Rows and columns of patches, as named sizes."""
        rows, columns = self.grid
        return Size(rows, "rows"), Size(columns, "columns")


@dataclass(frozen=True, kw_only=True)
class ImageModel(GridModel):
    """A model whose tokens are flattened patches with positions.

    Positions are a table of parameters, trained or fixed. Fixed ones are sines and cosines of
    both axes, for which `dim` has to be divisible by 4.
    """

    patch_bias: bool = flag(True, help="bias of the patch embedding")
    pos_embed: str = pos_embed_option("learned")
    pos_embed_token: bool = needing(
        flag(True, help="position embedding for the prefix tokens too"),
        {"pos_embed": ("learned", "fixed"), "pool": ("token",)},
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

    @derived
    def pixels(self) -> Size:
        """Elements of a patch: patch × patch × channels."""
        p = self.size("patch_size")
        return product((p, p, self.size("channels")))

    def patchify(self, image: Tensor) -> Tensor:
        """Cut images into patches, row by row: (B, patches, patch × patch × channels)."""
        (B, C, _, _), (rows, columns), p = image.shape, self.sides, self.size("patch_size")
        grid = image.reshape(B, C, rows, p, columns, p).permute(0, 2, 4, 3, 5, 1)
        return grid.reshape(B, Size(self.patches, "patches"), self.pixels)

    def sines_fit(self, dim_name: str, dim: int, heads: int) -> Iterator[Constraint]:
        """Yield the rule that 4 divides `dim` if positions are fixed."""
        if self.pos_embed == "fixed":
            yield Constraint(
                dim % 4 == 0,
                lambda: (
                    f"{dim_name} {dim} is not divisible by 4, which sines and cosines of two axes "
                    f"need; with these heads {dim_name} can be {near_multiples(dim, 4, heads)}"
                ),
            )
