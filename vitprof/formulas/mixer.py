"""Base class of token mixers: options, formula and the reference to the torch module."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from vitprof.errors import FormulaError
from vitprof.formulas.faults import place_of
from vitprof.formulas.layer import Layer
from vitprof.formulas.run import Run, count
from vitprof.formulas.tensor import Tensor, spell
from vitprof.values.options import Constraint, Options
from vitprof.values.size import Size


@dataclass(slots=True)
class MixerSizes:
    """Sizes that a mixer works at, for any batch; immutable by convention.

    Attributes:
        tokens: N, tokens of an image.
        dim: D, channels of a token.
        heads: h, with D divisible by h.
        grid: rows and columns if the tokens are exactly the patches of an image, else None.
        patches: rows and columns of the patches, which come after the prefix tokens; None if they
            have no place on a grid. By default the grid.
        prefix: number of prefix tokens before the patches.
        scattered: reason for having no grid, to follow "because" in a sentence.
        without_prefix: options that leave out the prefix tokens, as a clause; empty if the
            tokens are patches only.
        beside: tokens of the model's other stages, which the same options have to suit.
        stage: place of the stage in a model of stages, from 0 on.
        stages: number of stages, for options with one number for each.
        head_dim: d = D / h, channels of a head.
    """

    tokens: Size
    dim: Size
    heads: Size
    grid: tuple[Size, Size] | None = None
    patches: tuple[Size, Size] | None = None
    prefix: int = 0
    scattered: str = ""
    without_prefix: str = ""
    beside: tuple[Size, ...] = ()
    stage: int = 0
    stages: int = 1
    head_dim: Size = field(init=False)

    def __post_init__(self) -> None:
        self.head_dim = (self.dim // self.heads).named("head dim")
        if self.patches is None:
            self.patches = self.grid


@dataclass(frozen=True, slots=True)
class BlockList:
    """List of the blocks of a stage, whose mixers are asked for.

    Attributes:
        path: path of their module list, such as `blocks` or `stages.2.blocks`.
        depth: how many they are.
    """

    path: str
    depth: Size


def on_grid(name: str, sizes: MixerSizes) -> Constraint:
    """Return the rule that there is a grid, for a part `name` that mixes neighbours."""
    return Constraint(
        sizes.grid is not None,
        lambda: f"{name} mixes neighbours on a grid, and there is none, because {sizes.scattered}",
    )


@dataclass(frozen=True, kw_only=True)
class Mixer(Options):
    """A token mixer: (B, N, D) to (B, N, D), mixing along N.

    A mixer is a frozen dataclass: its fields are the options that it adds to those of the
    model, and its `forward` is the paper's equations as ops.

    Attributes:
        name: its name on the command line and in `MIXERS`.
        turns: of a hybrid, the mixers that blocks have in turn; see `vitprof.formulas.hybrid`.
        aliases: other names for it.
        summary: description in one line.
        source: the paper, with the equation.
        module: `package.module:Class` of the torch module, imported only to build it.
        shared_module: the same of the torch module of what blocks share; see `share`.
        on_grid: True if it mixes neighbours on a grid of rows and columns.
        halves_heads: True if it needs an even number of channels of a head.
    """

    name: ClassVar[str]
    turns: ClassVar[tuple[type[Mixer], ...]] = ()
    aliases: ClassVar[tuple[str, ...]] = ()
    summary: ClassVar[str]
    source: ClassVar[str]
    module: ClassVar[str]
    shared_module: ClassVar[str] = ""
    on_grid: ClassVar[bool] = False
    halves_heads: ClassVar[bool] = False

    @property
    def needs_grid(self) -> bool:
        """True if it needs a grid with these options."""
        return self.on_grid

    @property
    def needs_patches(self) -> str:
        """Option by which it needs patches on a grid, after any prefix tokens; empty if none."""
        return ""

    @property
    def shares(self) -> bool:
        """True if blocks share something with these options; see `share`."""
        return False

    @property
    def neighbourly(self) -> str:
        """Name of the mixer, with the option by which it needs a grid if it has one."""
        return self.name

    @property
    def divisor(self) -> int:
        """Number that has to divide the tokens; 1 if any number of tokens is possible."""
        return 1

    @classmethod
    def parts(cls) -> tuple[type[Mixer], ...]:
        """Return the mixers that blocks can have: this one, or those of a hybrid."""
        return (cls,)

    def fits(self, lists: Sequence[BlockList], model: str) -> Iterator[Constraint]:
        """Yield the rules for the lists of blocks of a model that has this mixer."""
        return iter(())

    def admits(self, sizes: MixerSizes) -> Iterator[Constraint]:
        """Yield the rules for the sizes at which the mixer is defined."""
        if self.needs_grid:
            yield on_grid(self.neighbourly, sizes)
        if self.halves_heads:
            dim, heads = sizes.dim.value, sizes.heads.value
            yield Constraint(
                sizes.head_dim.value % 2 == 0,
                lambda: (
                    f"dim {dim} gives each of {heads} heads {dim // heads} channels, which "
                    f"{self.name} cannot halve; give a multiple of {2 * heads}"
                ),
            )

        if self.needs_patches:
            yield Constraint(
                sizes.patches is not None,
                lambda: (
                    f"{self.name} with {self.needs_patches} needs patches on a grid, and there is "
                    f"none, because {sizes.scattered}"
                ),
            )

    def share(self, run: Run, sizes: MixerSizes) -> tuple[Tensor, ...]:
        """Run the ops of what all blocks of a stage share, such as positions, once before them.

        Returns:
            Tensors that `forward` and the torch module take as further arguments.
        """
        return ()

    @abstractmethod
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        """Run the mixer's ops on (B, N, D), line by line and named as in the torch module.

        A variable has to hold its tensor as long as the variable of the torch module does.

        Raises:
            FormulaError: two ops do not fit together.
        """

    def formula(self, sizes: MixerSizes, batch: Size) -> Layer:
        """Return the mixer's ops on (B, N, D) as a tree with the name `mixer`."""
        shape = (batch, sizes.tokens, sizes.dim)
        shared = self.share(Run(checked=self.checked), sizes)

        def forward(run: Run, x: Tensor) -> Tensor:
            return self.mix(run, x, sizes, *shared)

        return count("mixer", self.type(), forward, shape, checked=self.checked)

    def run_shared(self, run: Run, name: str, sizes: MixerSizes) -> tuple[Tensor, ...]:
        """Run `share` as a submodule of the model."""
        made = self.shared_module.partition(":")[2]
        return run.layer(name, made, partial(self.share, run, sizes))

    def of_blocks(self, blocks: BlockList, sizes: MixerSizes) -> tuple[Mixer, ...]:
        """Return the mixer of each block of a stage; a single one if all blocks have it.

        Those of different blocks can be different mixers, or one with other fields. Where sizes
        are arrays or symbols, `checked` is False, and it is enough that counts are the same.
        """
        return (self,)

    def mix(self, run: Run, x: Tensor, sizes: MixerSizes, *shared: Tensor) -> Tensor:
        """Run `forward`, and check that it returns what it has to.

        Raises:
            FormulaError: two ops do not fit together, or the output is not (B, N, D).
        """
        run.mixer = self.name
        y: object = self.forward(run, x, sizes, *shared)
        if not isinstance(y, Tensor):
            made = "nothing" if y is None else f"an object of type {type(y).__name__}"
            raise FormulaError(
                f"forward of mixer {self.name} returns {made}; it has to return a tensor of the "
                f"shape that it is given, {spell(x.shape)} ({place_of(self.forward)})"
            )
        try:
            run.check_alike(x, y, "forward")
        except FormulaError as error:
            raise FormulaError(f"{error} ({place_of(self.forward)})") from None
        run.mixer = ""
        return y

    @classmethod
    def type(cls) -> str:
        """Return the class name of the torch module."""
        return cls.module.partition(":")[2]

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        """Return the keyword arguments of the torch module's constructor.

        These are `dim`, `heads` and the options by name. A mixer whose module needs the number
        of tokens or their grid overrides this method.
        """
        return {"dim": sizes.dim.value, "heads": sizes.heads.value, **self.values()}
