"""One encoder block: token mixer and MLP, with norms and residuals.

The arrangement is one of

pre        X = X + Mixer(norm(X))             (Dosovitskiy et al. 2020, eqs. 2 and 3)
           X = X + MLP(norm(X))
post       X = norm(X + Mixer(X))             (Vaswani et al. 2017, section 3.1)
           X = norm(X + MLP(X))
res-post   X = X + norm(Mixer(X))             (Liu et al. 2022, Swin Transformer V2, section 3.2)
           X = X + norm(MLP(X))
parallel   X = X + Mixer(norm(X)) + MLP(norm(X)), one norm for both
                                              (Dehghani et al. 2023, ViT-22B, section 2.1)
single     X = X + MLP(norm(Mixer(norm(X))))  (Rao et al. 2021, GFNet)
inner      X = X + MLP(norm(Mixer(X)))        (Liu et al. 2022, ConvNeXt, section 2.6)
conv       X = X + norm(act(Mixer(X)))        (Trockman and Kolter 2022, ConvMixer)
           X = norm(MLP(X))

With `patch_interaction`, a third branch is between mixer and MLP, as in XCiT's block (El-Nouby et
al. 2021); in a parallel block it reads what the others read.

pre        X = X + Mixer(norm(X)); X = X + Local(norm(X)); X = X + MLP(norm(X))

With `branches`, as many mixers, and then as many MLPs, read the same tokens, each with its own
norm, and their outputs are summed (Touvron et al. 2022, Three Things Everyone Should Know About
Vision Transformers, section 3):

pre        X = X + sum_i Mixer_i(norm_i(X)); X = X + sum_i MLP_i(norm_i(X))

With `layer_scale`, each branch is multiplied by a learned gain per channel before the sum
(Touvron et al. 2021, Going Deeper with Image Transformers, eq. 4), and with `res_scale` what it is
added to (Shleifer et al. 2021, NormFormer, section 2). In training, `dropout` drops
elements after the mixer and in the MLP, and `drop_path` the branch of a sample as a whole (Huang
et al. 2016, Deep Networks with Stochastic Depth). `vitprof.formulas.parts.mlps` has the MLPs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from vitprof.formulas.mixer import Mixer, MixerSizes, on_grid
from vitprof.formulas.parts.activations import activate
from vitprof.formulas.parts.mlps import MlpOptions
from vitprof.formulas.parts.patch_interaction import interact
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, choice, divides, flag, needing, ratio, whole
from vitprof.values.size import Size

BLOCKS = ("pre", "post", "res-post", "parallel", "single", "inner", "conv")
_WITH_BRANCHES = ("pre", "post", "res-post", "parallel")  # each part is a residual branch
_WITH_NORMS = ("pre", "res-post")  # the norm of each part is on its branch

# Parts of a block, in the order in which they run, with their places in names and the names of
# several of them.
PARTS = (("mixer", 1, "mixers"), ("local", 3, "locals"), ("mlp", 2, "mlps"))


@dataclass(frozen=True, kw_only=True)
class BlockOptions(MlpOptions):
    """Options of a model's blocks, except their mixer."""

    block: str = choice("pre", names=BLOCKS, help="arrangement of norms and residuals in a block")
    patch_interaction: bool = needing(
        flag(
            False,
            help="XCiT's local patch interaction, two depthwise convolutions on the grid of the "
            "tokens, as a branch between mixer and MLP",
        ),
        {"block": _WITH_BRANCHES},
    )
    branches: int = needing(
        whole(
            1,
            maximum=1_000,
            help="mixers that read the same tokens side by side, each with its norm, and then as "
            "many MLPs; their outputs are summed",
            grows=64,
            convex=True,
        ),
        {"block": _WITH_NORMS},
    )
    layer_scale: bool = flag(False, help="learned gain per channel on each residual branch")
    res_scale: bool = flag(
        False, help="learned gain per channel on what each residual branch is added to"
    )
    drop_path: Fraction = ratio(
        "0",
        minimum="0",
        below="1",
        help="rate of stochastic depth in training: residual branches dropped per sample, "
        "with the same rate in every block",
    )

    @property
    def has_patch_interaction(self) -> bool:
        """True if a block has a local patch interaction."""
        return self.patch_interaction and self.block in _WITH_BRANCHES

    @property
    def part_on_grid(self) -> str:
        """Part beside the mixer that mixes neighbours on a grid; empty if there is none."""
        if self.has_mlp_conv:
            return f"mlp conv {self.mlp_conv}"
        return "patch interaction" if self.has_patch_interaction else ""

    @property
    def has_several(self) -> bool:
        """True if several branches of a kind are side by side."""
        return self.branches > 1 and self.block in _WITH_NORMS

    @property
    def parts(self) -> tuple[tuple[str, int, str], ...]:
        """Parts of a block, of `PARTS`, in their order."""
        there = {"mixer": True, "local": self.has_patch_interaction, "mlp": self.mlp != "none"}
        return tuple([part for part in PARTS if there[part[0]]])

    def of_blocks(self) -> tuple[object, ...]:
        """Return the options that a block's ops depend on, except the width of its MLP."""
        declared = BlockOptions.declared()
        return tuple([getattr(self, name) for name in declared if name not in _OF_WIDTH])

    def fits(
        self, dim_name: str, dim: int, heads_name: str, heads: int, hidden: int, of: str = ""
    ) -> Iterator[Constraint]:
        """Yield the rules that heads divide the dim and that the MLP has a hidden channel.

        `hidden` is the width that is given for the MLP, or 0; `of` is what has the dim, to follow
        it in a sentence: ` of stage 2`.
        """
        yield divides(dim_name, dim, heads_name, heads, of=of)
        yield from self.has_hidden(dim, hidden)


_OF_WIDTH = ("mlp_ratio", "mlp_hidden", "mlp_multiple")


@dataclass(slots=True, kw_only=True)
class Block:
    """A block at the given sizes; immutable by convention.

    Attributes:
        sizes: N, D and heads.
        mixer: its token mixer.
        options: its other options.
        given_hidden: hidden width that is given for its MLP; 0 if it follows from the dim.
    """

    sizes: MixerSizes
    mixer: Mixer
    options: BlockOptions
    given_hidden: int

    @property
    def hidden(self) -> int:
        """Hidden width of the MLP."""
        return self.options.hidden_width(self.sizes.dim.value, self.given_hidden)

    def admits(self) -> Iterator[Constraint]:
        """Yield the rules for the sizes at which the block is defined."""
        yield from self.mixer.admits(self.sizes)
        if self.options.part_on_grid:
            yield on_grid(self.options.part_on_grid, self.sizes)

    def forward(self, run: Run, x: Tensor, *shared: Tensor) -> Tensor:
        """Run the block's ops on (B, N, D).

        Args:
            run: the run.
            x: the input.
            *shared: what the mixer shares between blocks; see `Mixer.share`.
        """
        return run.block(partial(self.arrange, run), x, *shared)

    def arrange(self, run: Run, x: Tensor, *shared: Tensor) -> Tensor:
        """Run norms, mixer, MLP and residuals in the block's arrangement."""
        arrange = Block._several if self.options.has_several else _ARRANGEMENTS[self.options.block]
        arranged: Tensor = arrange(self, run, x, shared)
        return arranged

    def _several(self, run: Run, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        for part, place, names in self.options.parts:
            x = self._sum(run, part, place, names, x, shared if part == "mixer" else ())
        return x

    def _sum(
        self, run: Run, part: str, place: int, names: str, x: Tensor, shared: Sequence[Tensor]
    ) -> Tensor:
        """Add the outputs of several branches of a kind, all of which read x."""

        def branch(x: Tensor, *shared: Tensor) -> Tensor:
            if self.options.block == "pre":
                x = self._norm(run, "", x)
            x = _PARTS[part](self, run, x, shared)
            if self.options.block == "res-post":
                x = self._norm(run, "", x)
            for scale in self._scales(run, ""):
                x = scale(x)
            return x

        def branches(x: Tensor) -> list[Tensor]:
            return [
                run.layer(str(number), "Branch", branch, x, *shared)
                for number in range(self.options.branches)
            ]

        made = run.layer(names, "ModuleList", branches, x)
        x = self._kept(run, place, x)
        for number, y in enumerate(made):
            x = run.add(f"residual{place}_{number}", x, y)
        return x

    def _pre(self, run: Run, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        x = self._add(
            run, 1, self._kept(run, 1, x), self._mixer(run, self._norm(run, 1, x), shared)
        )
        if self.options.has_patch_interaction:
            x = self._add(run, 3, self._kept(run, 3, x), self._local(run, self._norm(run, 3, x)))
        if self.options.mlp == "none":
            return x
        return self._add(run, 2, self._kept(run, 2, x), self._mlp(run, self._norm(run, 2, x)))

    def _post(self, run: Run, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        x = self._add(run, 1, self._kept(run, 1, x), self._mixer(run, x, shared))
        x = self._norm(run, 1, x)
        if self.options.has_patch_interaction:
            x = self._add(run, 3, self._kept(run, 3, x), self._local(run, x))
            x = self._norm(run, 3, x)
        if self.options.mlp == "none":
            return x
        x = self._add(run, 2, self._kept(run, 2, x), self._mlp(run, x))
        return self._norm(run, 2, x)

    def _res_post(self, run: Run, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        x = self._add(
            run, 1, self._kept(run, 1, x), self._norm(run, 1, self._mixer(run, x, shared))
        )
        if self.options.has_patch_interaction:
            x = self._add(run, 3, self._kept(run, 3, x), self._norm(run, 3, self._local(run, x)))
        if self.options.mlp == "none":
            return x
        return self._add(run, 2, self._kept(run, 2, x), self._norm(run, 2, self._mlp(run, x)))

    def _parallel(self, run: Run, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        normalised = self._norm(run, 1, x)
        x = self._add(run, 1, self._kept(run, 1, x), self._mixer(run, normalised, shared))
        if self.options.has_patch_interaction:
            x = self._add(run, 3, self._kept(run, 3, x), self._local(run, normalised))
        if self.options.mlp == "none":
            return x
        return self._add(run, 2, self._kept(run, 2, x), self._mlp(run, normalised))

    def _single(self, run: Run, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        y = self._mixer(run, self._norm(run, 1, x), shared)
        if self.options.mlp != "none":
            y = self._mlp(run, self._norm(run, 2, y))
        return self._add(run, 1, self._kept(run, 1, x), y)

    def _inner(self, run: Run, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        y = self._norm(run, 1, self._mixer(run, x, shared))
        if self.options.mlp != "none":
            y = self._mlp(run, y)
        return self._add(run, 1, self._kept(run, 1, x), y)

    def _conv(self, run: Run, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        x = self._add(
            run, 1, self._kept(run, 1, x), self._norm(run, 1, self._acted(run, x, shared))
        )
        return x if self.options.mlp == "none" else self._norm(run, 2, self._mlp(run, x))

    def _acted(self, run: Run, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        return activate(run, self.options.activation, self._mixer(run, x, shared))

    def _norm(self, run: Run, place: int | str, x: Tensor) -> Tensor:
        return self.options.normalise(run, f"norm{place}", x)

    def _kept(self, run: Run, place: int, x: Tensor) -> Tensor:
        """Return the residual that a branch is added to, with its scale if there is one."""
        return run.layer_scale(f"rs{place}", x) if self.options.res_scale else x

    def _add(self, run: Run, place: int, x: Tensor, branch: Tensor) -> Tensor:
        """Add the branch, with layer scale and drop path if there are any, to the residual."""
        for scale in self._scales(run, place):
            branch = scale(branch)
        return run.add(f"residual{place}", x, branch)

    def _scales(self, run: Run, place: int | str) -> Iterator[Callable[[Tensor], Tensor]]:
        """Yield layer scale and drop path of a branch, if there are any."""
        if self.options.layer_scale:
            yield partial(run.layer_scale, f"ls{place}")
        if self.options.drop_path:
            yield partial(run.drop_path, f"drop_path{place}")

    def _mixer(self, run: Run, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        def mixer(x: Tensor, *shared: Tensor) -> Tensor:
            return self.mixer.mix(run, x, self.sizes, *shared)

        y = run.layer("mixer", self.mixer.type(), mixer, x, *shared)
        return self.options.drop(run, "proj_drop", y)

    def _local(self, run: Run, x: Tensor, shared: Sequence[Tensor] = ()) -> Tensor:
        assert self.sizes.grid is not None
        forward = partial(interact, run, self.options.activation, self.sizes.grid)
        return run.layer("local", "PatchInteraction", forward, x)

    def _mlp(self, run: Run, x: Tensor, shared: Sequence[Tensor] = ()) -> Tensor:
        return self.options.run_mlp(run, x, Size(self.hidden, "hidden"), self.sizes.grid)


_ARRANGEMENTS = {
    "pre": Block._pre,
    "post": Block._post,
    "res-post": Block._res_post,
    "parallel": Block._parallel,
    "single": Block._single,
    "inner": Block._inner,
    "conv": Block._conv,
}
_PARTS = {"mixer": Block._mixer, "local": Block._local, "mlp": Block._mlp}
