"""An image classifier of stages whose grid of tokens gets coarser (Liu et al. 2021, Swin).

A convolution with the stride of a patch makes the tokens of the first stage. Before each other
stage, tokens of 2 x 2 places become one, of another width:

conv     a convolution with stride 2 (Yu et al. 2022, PoolFormer; Liu et al. 2022, ConvNeXt)
concat   their channels one after the other, a norm, and a linear layer without bias (Liu et al.
         2021, Swin Transformer, section 3.1); concat-post has the norm after the linear layer (Liu
         et al. 2022, Swin Transformer V2, in its code)

Depths, widths and heads are one number for each stage; the other options are those of every
block. The mean of the last stage's tokens is classified.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from vitprof.errors import listing
from vitprof.formulas.images import (
    GridModel,
    channels_option,
    final_norm_option,
    image_size_option,
    patch_size_option,
)
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.parts.heads import LogitOptions, classes_option
from vitprof.formulas.parts.mlps import activation_option
from vitprof.formulas.run import Run
from vitprof.formulas.stage import Stage
from vitprof.formulas.tensor import Tensor
from vitprof.values.derived import derived
from vitprof.values.options import Constraint, choice, flag, near_multiples, needing, whole, wholes
from vitprof.values.size import Size, product

_BY_STAGE = ("depths", "widths", "stage_heads")


@dataclass(frozen=True, kw_only=True)
class Pyramid(LogitOptions, GridModel):
    """A classifier of stages; the default sizes are those of PoolFormer-S12."""

    name = "pyramid"
    summary = "stages of blocks, each on a coarser grid than the one before, and a linear head"
    source = "Liu et al. 2021, Swin Transformer, section 3.1"
    module = "vitprof.modules.models.pyramid:Pyramid"
    task = (*GridModel.task, "classes")

    image_size: int = image_size_option(224)
    channels: int = channels_option(3)
    patch_size: int = patch_size_option(4)
    depths: tuple[int, ...] = wholes((2, 2, 6, 2), help="blocks of each stage", maximum=10_000)
    widths: tuple[int, ...] = wholes((64, 128, 320, 512), help="channels of a token of each stage")
    stage_heads: tuple[int, ...] = wholes((1, 2, 5, 8), help="heads of each mixer of each stage")
    activation: str = activation_option("gelu")
    stem_kernel: int = whole(
        0,
        minimum=0,
        maximum=10_001,
        help="side of the kernel that makes the first tokens, an odd number larger than patch size "
        "for patches that overlap; 0 for patch size",
    )
    stem_norm: bool = flag(False, help="a norm of the first tokens, as in Swin and ConvNeXt")
    merge: str = choice(
        "conv",
        names=("conv", "concat", "concat-post"),
        help="what makes one token of 2 x 2 before each stage but the first: a convolution, or "
        "their channels, a norm and a linear layer (as in Swin), or the norm after that (Swin V2)",
    )
    merge_kernel: int = needing(
        whole(
            2,
            minimum=2,
            maximum=10_001,
            help="side of the kernel between two stages: 2, or an odd number for an overlap",
        ),
        {"merge": ("conv",)},
    )
    merge_norm: bool = needing(
        flag(False, help="a norm before the convolution between two stages, as in ConvNeXt"),
        {"merge": ("conv",)},
    )
    final_norm: bool = final_norm_option()
    final_norm_tokens: str = needing(
        choice(
            "all",
            names=("all", "pooled"),
            help="tokens that the final norm reads: all of them, or their mean",
        ),
        {"final_norm": (True,)},
    )
    classes: int = needing(classes_option(1000), {"head": (True,)})

    def constraints(self) -> Iterator[Constraint]:
        numbers = {name: len(getattr(self, name)) for name in _BY_STAGE}
        yield Constraint(len({*numbers.values()}) == 1, lambda: _of_other_lengths(numbers))
        yield _kernel_fits("stem kernel", self.stem_kernel or self.patch_size, self.patch_size)
        yield _kernel_fits("merge kernel", self.merge_kernel, 2)
        for stage, dim in enumerate(self.widths):
            heads = self.stage_heads[stage]
            place = f" of stage {stage + 1}"
            yield from self.fits("width", dim, "heads", heads, self.mlp_hidden, place)
        for name, side in (("image size", self.image_size), ("image width", self.width)):
            yield self._halves(name, side)
        yield from super().constraints()

    def _halves(self, name: str, side: int) -> Constraint:
        """Return the rule that a side of the image is cut into patches that halve at each stage."""
        coarsest = self.patch_size * 2 ** (len(self.depths) - 1)

        def sentence() -> str:
            return (
                f"{name} {side} is not divisible by {coarsest}, which patch size "
                f"{self.patch_size} and {len(self.depths)} stages make; give "
                f"{near_multiples(side, coarsest)}"
            )

        return Constraint(side % coarsest == 0, sentence)

    @property
    def classifies(self) -> bool:
        return self.head

    @derived
    def stages(self) -> tuple[Stage, ...]:
        made = []
        for place, depth in enumerate(self.depths):
            sides = self._sides(place)
            sizes = MixerSizes(
                tokens=product(sides).named(f"N{place + 1}"),
                dim=Size(self.widths[place], f"D{place + 1}"),
                heads=Size(self.stage_heads[place], "heads"),
                grid=sides,
            )
            made.append(
                self.stage(
                    *("blocks", Size(depth, "depth"), sizes),
                    mlp_hidden=self.mlp_hidden,
                    within=f"stages.{place}",
                )
            )
        return tuple(made)

    def _sides(self, place: int) -> tuple[Size, Size]:
        """Return rows and columns of the tokens of a stage, named by its number from 1 on."""
        (rows, columns), number = self.grid, place + 1
        return Size(rows // 2**place, f"rows{number}"), Size(
            columns // 2**place, f"columns{number}"
        )

    def forward(self, run: Run, x: Tensor) -> Tensor:
        x = run.layer("stem", "Stem", partial(self._stem, run), x)
        x = run.layer("stages", "Sequential", partial(self._stages, run), x)
        return self.run_head(run, self._pool(run, x))

    def _pool(self, run: Run, x: Tensor) -> Tensor:
        if not self.final_norm:
            return run.mean("pool", x, 1)
        if self.final_norm_tokens == "pooled":
            return self.normalise(run, "norm", run.mean("pool", x, 1))
        return run.mean("pool", self.normalise(run, "norm", x), 1)

    def _stem(self, run: Run, x: Tensor) -> Tensor:
        kernel = Size(self.stem_kernel, "kernel") if self.stem_kernel else self.size("patch_size")
        x = _convolved(run, x, self.stages[0].sizes, kernel)
        return self.normalise(run, "norm", x) if self.stem_norm else x

    def _stages(self, run: Run, x: Tensor) -> Tensor:
        finer: MixerSizes | None = None
        for place, stage in enumerate(self.stages):
            x = run.layer(str(place), "Stage", partial(self._stage, run, stage, finer), x)
            finer = stage.sizes
        return x

    def _stage(self, run: Run, stage: Stage, finer: MixerSizes | None, x: Tensor) -> Tensor:
        if finer is not None:
            merge, type_ = _MERGES[self.merge]
            merged = partial(merge, self, run, finer, stage.sizes)
            x = run.layer("downsample", type_, merged, x)
        for block in stage.blocks(run, stage.shared(run)):
            x = block(x)
        return x

    def _conv(self, run: Run, finer: MixerSizes, sizes: MixerSizes, x: Tensor) -> Tensor:
        if self.merge_norm:
            x = self.normalise(run, "norm", x)
        assert finer.grid is not None
        x = x.transpose(1, 2).unflatten(2, finer.grid)
        return _convolved(run, x, sizes, Size(self.merge_kernel, "kernel"))

    def _concat(self, run: Run, finer: MixerSizes, sizes: MixerSizes, x: Tensor) -> Tensor:
        assert sizes.grid is not None
        (B, _, C), (rows, columns) = x.shape, sizes.grid
        x = x.reshape(B, rows, 2, columns, 2, C).permute(0, 1, 3, 4, 2, 5)
        x = x.reshape(B, sizes.tokens, 4 * C)
        if self.merge == "concat-post":
            x = run.linear("reduction", x, sizes.dim, bias=False)
            return self.normalise(run, "norm", x)
        x = self.normalise(run, "norm", x)
        return run.linear("reduction", x, sizes.dim, bias=False)

    def loss(self, run: Run, y: Tensor) -> Tensor:
        return run.cross_entropy("loss", y) if self.head else run.mean_of_all("loss", y)


_MERGES = {
    "conv": (Pyramid._conv, "ConvMerging"),
    "concat": (Pyramid._concat, "PatchMerging"),
    "concat-post": (Pyramid._concat, "PatchMerging"),
}


def _convolved(run: Run, x: Tensor, sizes: MixerSizes, kernel: Size) -> Tensor:
    """Run a convolution of (B, C, H, W) that returns tokens of these sizes: (B, N, D)."""
    assert sizes.grid is not None
    y = run.conv("conv", x, sizes.dim, (kernel, kernel), positions=sizes.grid)
    return y.reshape(x.shape[0], sizes.dim, sizes.tokens).transpose(1, 2)


def _kernel_fits(name: str, kernel: int, stride: int) -> Constraint:
    """Return the rule that a kernel is as large as its stride, or larger and odd."""
    larger = (kernel > stride) & (kernel % 2 == 1)
    return Constraint(
        (kernel == stride) | larger,
        lambda: (
            f"{name} {kernel} does not fit a stride of {stride}; give {stride}, or a larger odd "
            "number for an overlap"
        ),
    )


def _of_other_lengths(numbers: dict[str, int]) -> str:
    each = listing((f"{name.replace('_', ' ')} {count}" for name, count in numbers.items()), "and")
    return (
        f"the stages have to be as many in each option, and {each} differ; give one number of each "
        "for every stage"
    )
