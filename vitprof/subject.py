"""Protocol of an object that can be profiled, such as a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from vitprof.formulas.layer import Layer, Measure
    from vitprof.formulas.program import Program
    from vitprof.values.options import Value


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

    def program(self, batch: int = 1) -> Program:
        """Return the calls of a forward pass on `batch` images and of its loss, in order."""

    def build(self, *, device: str, dtype: torch.dtype) -> nn.Module:
        """Build the torch module on a device; on `meta` it allocates nothing."""

    def inputs(self, batch: int, *, device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return random inputs of the torch module on a device, in the order of its arguments."""

    def keywords(self, batch: int, *, device: str, dtype: torch.dtype) -> Mapping[str, Tensor]:
        """Return random inputs of the torch module that are given by name."""
