"""What a token mixer is: its options, its formula, and where its torch module lives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vitprof.formulas.layer import Layer
from vitprof.formulas.run import Run, T, count
from vitprof.formulas.size import Size
from vitprof.options import Options, Rule


@dataclass(frozen=True, slots=True)
class MixerSizes:
    """The sizes that a mixer works at.

    Attributes:
        batch: B, images.
        tokens: N, tokens of an image.
        dim: D, channels of a token.
        heads: h, with D divisible by h.
        grid: rows and columns where the tokens are the patches of an image and no other.
        scattered: why there is no grid, to follow "because".
        head_dim: d = D / h, channels of a head.
    """

    batch: Size
    tokens: Size
    dim: Size
    heads: Size
    grid: tuple[Size, Size] | None = None
    scattered: str = ""
    head_dim: Size = field(init=False)

    def __post_init__(self) -> None:
        share = Size(self.dim.value // self.heads.value, "head dim")
        object.__setattr__(self, "head_dim", share)


@dataclass(frozen=True, kw_only=True)
class Mixer(Options):
    """A token mixer: (B, N, D) to (B, N, D), mixing along N.

    A mixer is a frozen dataclass: its fields are the options it adds to the
    model's, its `forward` the paper's equations as ops.

    Attributes:
        name: what it is called by.
        aliases: other names for it.
        summary: one line that says what it does.
        source: the paper, with its equation.
        module: `package.module:Class` of the torch module, imported when a running
            model is asked for.
        on_grid: mixes neighbours on a grid of rows and columns, and is nothing without.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    summary: ClassVar[str]
    source: ClassVar[str]
    module: ClassVar[str]
    on_grid: ClassVar[bool] = False

    @property
    def needs_grid(self) -> bool:
        """Whether it is nothing without a grid, with these options."""
        return self.on_grid

    def admits(self, sizes: MixerSizes) -> Iterator[Rule]:
        """Yield what holds of the sizes that the mixer is defined at."""
        if self.needs_grid:
            yield Rule(
                sizes.grid is not None,
                lambda: (
                    f"{self.name} mixes neighbours on a grid, and there is none, because "
                    f"{sizes.scattered}"
                ),
            )

    @abstractmethod
    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        """Run the mixer's ops, in the order and with the variables of the torch module.

        A variable holds its tensor for as long as the module's holds it.
        """

    def formula(self, sizes: MixerSizes) -> Layer:
        """The mixer's ops under the name `mixer`."""
        return count("mixer", self.type(), lambda run, x: self.forward(run, x, sizes))

    @classmethod
    def type(cls) -> str:
        """Class name of the torch module."""
        return cls.module.partition(":")[2]

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        """Keyword arguments that construct the torch module.

        By default `dim`, `heads` and the options by name; a module that needs the number of
        tokens or their grid adds it.
        """
        return {"dim": sizes.dim.value, "heads": sizes.heads.value, **self.values()}
