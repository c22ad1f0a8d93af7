"""Protocol of an object that can be profiled, such as a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from vitprof.formulas.layer import Layer, Measure
    from vitprof.formulas.program import Program
    from vitprof.values.options import Constraint, Option, Value


class Subject(Protocol):
    """An object whose counts, memory and speed can be profiled."""

    @property
    def variant(self) -> str:
        """Name of this object in a comparison."""

    @property
    def classifies(self) -> bool:
        """True if the model returns a logit per class, (B, classes)."""

    def conditions(self) -> Mapping[str, Value]:
        """Return every choice that a count depends on, by name."""

    def formula(self, batch: int = 1) -> Layer:
        """Return the ops of a forward pass on `batch` images as a tree."""

    def tree(self, measure: Measure, batch: int = 1) -> Layer:
        """Return the tree in which parameters, or multiply-accumulates, are counted."""

    def words(self) -> Mapping[str, object]:
        """Return what `request.specs.subject` builds it from, as JSON holds it."""

    def program(self, batch: int = 1) -> Program:
        """Return the calls of a forward pass on `batch` images and of its loss, in order."""

    def build(self, *, device: str, dtype: torch.dtype) -> nn.Module:
        """Build the torch module on a device; on `meta` it allocates nothing."""

    def inputs(self, batch: int, *, device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return random inputs of the torch module on a device, in the order of its arguments."""

    def keywords(self, batch: int, *, device: str, dtype: torch.dtype) -> Mapping[str, Tensor]:
        """Return random inputs of the torch module that are given by name."""


class Configurable(Subject, Protocol):
    """A subject whose numbers can be varied, such as its image size."""

    @property
    def name(self) -> str:
        """Name of its model, or its reference."""

    def options(self) -> Mapping[str, Option]:
        """Return the declarations of all its options, by name."""

    def declared(self) -> Mapping[str, Option]:
        """Return the declarations of the options that are its own, and not its mixer's."""

    def values(self) -> Mapping[str, Value]:
        """Return the values of its own options, by name."""

    @property
    def needs_grid(self) -> bool:
        """True if it needs tokens that are exactly the patches of an image."""

    @property
    def divisor(self) -> int:
        """Number that has to divide the tokens; 1 if any number will do."""

    def smoothness(self, measure: Measure) -> int:
        """Return the order up to which differences of its count grow with the tokens."""

    def same_as(self, other: object) -> bool:
        """Return True if another subject costs the same at all values of all options."""

    def at(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with other values of some options; unknown names are ignored.

        Raises:
            SpecError: a value is not allowed, or two values do not fit.
        """

    def placed(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with arrays as options, without validation."""

    def scattered(self, option: str, tokens: int) -> Self:
        """Return a copy with a number of tokens that lie on no grid, without validation."""

    def every_constraint(self) -> Iterator[Constraint]:
        """Yield what has to hold between its options."""
