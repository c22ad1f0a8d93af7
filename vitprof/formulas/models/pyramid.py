"""An image classifier of stages whose grid of tokens gets coarser (Liu et al. 2021, Swin).

A convolution with the stride of a patch makes the tokens of the first stage. Before each other
stage, tokens of 2 x 2 places become one, of another width:

conv     a convolution with stride 2 (Yu et al. 2022, PoolFormer; Liu et al. 2022, ConvNeXt)
concat   their channels one after the other, a norm, and a linear layer without bias (Liu et al.
         2021, Swin Transformer, section 3.1); concat-post has the norm after the linear layer (Liu
         et al. 2022, Swin Transformer V2, in its code)
pool     their mean, and a linear layer

With `merge_norm`, a norm is before the convolution or the mean (Liu et al. 2022, ConvNeXt; Yu et
al. 2022, MetaFormer Baselines for Vision), after it, or both (Wang et al. 2021, PVTv2, where a
stage ends with a norm).

Depths, widths and heads are one number for each stage; so can ratios of the MLP be. The other
options are those of every block, but that `res_scale` can begin with a later stage. The mean of the
last stage's tokens is classified.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
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
from vitprof.formulas.parts.mlps import (
    WITH_HIDDEN,
    activation_option,
    mlp_multiple_option,
    mlp_ratio_option,
)
from vitprof.formulas.parts.norms import NORMS, WITH_BIAS, norm_bias_option, normalise
from vitprof.formulas.run import Run
from vitprof.formulas.stage import Stage
from vitprof.formulas.tensor import Tensor
from vitprof.values.derived import derived
from vitprof.values.options import Constraint, choice, flag, near_multiples, needing, whole, wholes
from vitprof.values.size import Size, product

_BY_STAGE = ("depths", "widths", "stage_heads")
_WITH_NORMS = ("conv", "pool")  # mergings that a norm can precede or follow


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
        names=("conv", "concat", "concat-post", "pool"),
        help="what makes one token of 2 x 2 before each stage but the first: a convolution, their "
        "channels, a norm and a linear layer (as in Swin), or the norm after that (Swin V2), or "
        "their mean and a linear layer",
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
    merge_norm: str = needing(
        choice(
            "none",
            names=("none", "before", "after", "both"),
            help="a norm between two stages, before the convolution or mean, as in ConvNeXt, after "
            "it, or both, as in PVTv2",
        ),
        {"merge": _WITH_NORMS},
    )
    mlp_ratio: Fraction | float = mlp_ratio_option({"mlp_ratios": ((0,),)})
    mlp_multiple: int = mlp_multiple_option({"mlp_ratios": ((0,),)})
    mlp_ratios: tuple[int, ...] = needing(
        wholes(
            (0,),
            minimum=0,
            maximum=1_000,
            help="hidden width of the MLP divided by width, one number for each stage or for all; "
            "0 for mlp ratio",
        ),
        {"mlp": WITH_HIDDEN, "mlp_hidden": (0,)},
    )
    res_scale_from: int = needing(
        whole(1, maximum=16, help="number of the first stage with res scale, from 1 on"),
        {"res_scale": (True,)},
    )
    norm_bias: bool = norm_bias_option(
        "layer and group norms, except after the last block", {"outer_norm": WITH_BIAS}
    )
    outer_norm: str = choice(
        "same",
        names=("same", *NORMS),
        help="norm of the first tokens, between stages and after the last block; same for that of "
        "the blocks",
    )
    final_norm: bool = final_norm_option()
    final_norm_bias: bool = needing(
        flag(True, help="bias of a layer or group norm after the last block"),
        {"outer_norm": ("same",), "norm": WITH_BIAS},
        {"outer_norm": WITH_BIAS},
    )
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
        yield from self._ratios_fit()
        yield Constraint(
            self.res_scale_from <= len(self.depths),
            lambda: (
                f"res scale from {self.res_scale_from} is no stage of {len(self.depths)}; give a "
                f"number from 1 to {len(self.depths)}"
            ),
        )
        for stage, dim in enumerate(self.widths):
            heads = self.stage_heads[stage]
            place = f" of stage {stage + 1}"
            own = self._of_stage(stage)
            yield from own.fits("width", dim, "heads", heads, self.mlp_hidden, place)
        for name, side in (("image size", self.image_size), ("image width", self.width)):
            yield self._halves(name, side)
        yield from super().constraints()

    def _ratios_fit(self) -> Iterator[Constraint]:
        """Yield the rule that there is a ratio of the MLP for each stage, or one for all."""
        given, stages = ",".join(map(str, self.mlp_ratios)), len(self.depths)
        of_each = len(self.mlp_ratios) == stages and all(self.mlp_ratios)
        yield Constraint(
            len(self.mlp_ratios) == 1 or of_each,
            lambda: (
                f"mlp ratios {given} are not one number from 1 on for each of {stages} stages; "
                "give as many, or one for all stages"
            ),
        )

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
                stage=place,
                stages=len(self.depths),
            )
            made.append(
                self._of_stage(place).stage(
                    *("blocks", Size(depth, "depth"), sizes),
                    mlp_hidden=self.mlp_hidden,
                    within=f"stages.{place}",
                )
            )
        return tuple(made)

    def _of_stage(self, place: int) -> Pyramid:
        """Return a copy with the options of the blocks of a stage."""
        changed: dict[str, object] = {}
        if self.mlp_ratios != (0,):
            ratio = self.mlp_ratios[place if len(self.mlp_ratios) > 1 else 0]
            changed = {"mlp_ratio": Fraction(ratio), "mlp_multiple": 1}
        if self.res_scale:
            changed["res_scale"] = place + 1 >= self.res_scale_from
        return self.substitute(**changed) if changed else self

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
            return self.normalise_last(run, "norm", run.mean("pool", x, 1))
        return run.mean("pool", self.normalise_last(run, "norm", x), 1)

    @property
    def outside(self) -> str:
        """Norm outside of the blocks."""
        return self.norm if self.outer_norm == "same" else self.outer_norm

    def normalise_last(self, run: Run, name: str, x: Tensor) -> Tensor:
        return normalise(run, self.outside, name, x, bias=self.final_norm_bias)

    def _outside(self, run: Run, name: str, x: Tensor) -> Tensor:
        """Run the norm of the first tokens, or between two stages."""
        return normalise(run, self.outside, name, x, bias=self.norm_bias)

    def _stem(self, run: Run, x: Tensor) -> Tensor:
        kernel = Size(self.stem_kernel, "kernel") if self.stem_kernel else self.size("patch_size")
        x = _convolved(run, x, self.stages[0].sizes, kernel)
        return self._outside(run, "norm", x) if self.stem_norm else x

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
        assert finer.grid is not None
        x = self._before(run, x)
        x = x.transpose(1, 2).unflatten(2, finer.grid)
        x = _convolved(run, x, sizes, Size(self.merge_kernel, "kernel"))
        return self._after(run, x)

    def _mean(self, run: Run, finer: MixerSizes, sizes: MixerSizes, x: Tensor) -> Tensor:
        assert finer.grid is not None
        assert sizes.grid is not None
        (B, _, C) = x.shape
        x = self._before(run, x)
        x = run.avg_pool("pool", x.transpose(1, 2).unflatten(2, finer.grid), sizes.grid)
        x = run.linear("proj", x.reshape(B, C, sizes.tokens).transpose(1, 2), sizes.dim)
        return self._after(run, x)

    def _before(self, run: Run, x: Tensor) -> Tensor:
        """Run the norm at the end of a stage before another, if there is one."""
        return self._outside(run, "norm_before", x) if self.has_norm("before") else x

    def _after(self, run: Run, x: Tensor) -> Tensor:
        """Run the norm of the tokens that are merged, if there is one."""
        return self._outside(run, "norm_after", x) if self.has_norm("after") else x

    def has_norm(self, place: str) -> bool:
        """Return True if a norm is `before` the merging of tokens, or `after` it."""
        return self.merge_norm in (place, "both")

    def _concat(self, run: Run, finer: MixerSizes, sizes: MixerSizes, x: Tensor) -> Tensor:
        assert sizes.grid is not None
        (B, _, C), (rows, columns) = x.shape, sizes.grid
        x = x.reshape(B, rows, 2, columns, 2, C).permute(0, 1, 3, 4, 2, 5)
        x = x.reshape(B, sizes.tokens, 4 * C)
        if self.merge == "concat-post":
            x = run.linear("reduction", x, sizes.dim, bias=False)
            return self._outside(run, "norm", x)
        x = self._outside(run, "norm", x)
        return run.linear("reduction", x, sizes.dim, bias=False)

    def loss(self, run: Run, y: Tensor) -> Tensor:
        return run.cross_entropy("loss", y) if self.head else run.mean_of_all("loss", y)


_MERGES = {
    "conv": (Pyramid._conv, "ConvMerging"),
    "concat": (Pyramid._concat, "PatchMerging"),
    "concat-post": (Pyramid._concat, "PatchMerging"),
    "pool": (Pyramid._mean, "PoolMerging"),
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
