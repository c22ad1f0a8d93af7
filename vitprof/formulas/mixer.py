"""What a token mixer is: its options, its formula, and where its torch module lives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from vitprof.formulas.layer import Layer
from vitprof.formulas.run import Run, count
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, Options
from vitprof.values.size import Size


@dataclass(slots=True)
class MixerSizes:
    """The sizes that a mixer works at, whatever the batch; nobody changes them.

    Attributes:
        tokens: N, tokens of an image.
        dim: D, channels of a token.
        heads: h, with D divisible by h.
        grid: rows and columns where the tokens are the patches of an image and no other.
        scattered: why there is no grid, to follow "because".
        head_dim: d = D / h, channels of a head.
    """

    tokens: Size
    dim: Size
    heads: Size
    grid: tuple[Size, Size] | None = None
    scattered: str = ""
    head_dim: Size = field(init=False)

    def __post_init__(self) -> None:
        self.head_dim = Size(self.dim.value // self.heads.value, "head dim")


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

    def admits(self, sizes: MixerSizes) -> Iterator[Constraint]:
        """Yield what holds of the sizes that the mixer is defined at."""
        if self.needs_grid:
            yield Constraint(
                sizes.grid is not None,
                lambda: (
                    f"{self.name} mixes neighbours on a grid, and there is none, because "
                    f"{sizes.scattered}"
                ),
            )

    @abstractmethod
    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        """Run the mixer's ops on (B, N, D), line by line and named as in the torch module.

        A variable holds its tensor for as long as the module's holds it.

        Raises:
            FormulaError: two ops do not fit together.
        """

    def formula(self, sizes: MixerSizes, batch: Size) -> Layer:
        """The mixer's ops under the name `mixer`."""
        shape = (batch, sizes.tokens, sizes.dim)
        forward = partial(self._forward, sizes)
        return count("mixer", self.type(), forward, shape, checked=self.checked)

    def _forward(self, sizes: MixerSizes, run: Run, x: Tensor) -> Tensor:
        return self.forward(run, x, sizes)

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
