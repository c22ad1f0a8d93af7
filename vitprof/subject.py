"""Whatever can be profiled: a model on paper, and in time any torch module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from vitprof.formulas.layer import Layer
    from vitprof.formulas.program import Program
    from vitprof.values.options import Value


class Subject(Protocol):
    """What counts, tools, memory and time ask of what they are of."""

    @property
    def variant(self) -> str:
        """Its name among others that it is laid beside."""

    @property
    def classifies(self) -> bool:
        """If it returns a logit for each class, (B, classes)."""

    def conditions(self) -> Mapping[str, Value]:
        """Every choice that a count depends on."""

    def formula(self, batch: int = 1) -> Layer:
        """The ops of a forward pass on `batch` images as a tree."""

    def program(self, batch: int = 1) -> Program:
        """A forward pass on `batch` images and the loss of it, call by call."""

    def build(self, *, device: str, dtype: torch.dtype) -> nn.Module:
        """The module on a device; on `meta` it allocates nothing."""

    def inputs(self, batch: int, *, device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Random inputs of the module on a device."""
