"""What every op is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from vitprof.formulas.work import Work
from vitprof.values.size import ZERO, Size

Shape = tuple[Size, ...]
Uncounted = tuple[tuple[str, Size], ...]


@dataclass(slots=True)
class Op(ABC):
    """One operation; its name is that of the submodule that computes it.

    Nobody changes one. It is not frozen, which would take three times as long, because every
    count makes dozens.

    Attributes:
        name: last part of the path, `qkv` in `blocks.0.mixer.qkv`.
        work: its kind of work.
        module: whether a submodule of its own computes it.
        contracts: whether it is a contraction, which alone has MACs.
    """

    name: str
    work: ClassVar[Work]
    module: ClassVar[bool] = True
    contracts: ClassVar[bool] = False

    @property
    def type(self) -> str:
        """Class name of the torch module that computes it; empty where none does."""
        return self.__class__.__name__

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of what it writes."""

    @property
    def params(self) -> Size:
        """Its parameters."""
        return self.weights if self.biases is ZERO else self.weights + self.biases

    @property
    def weights(self) -> Size:
        """How many of its parameters are multiplied."""
        return ZERO

    @property
    def biases(self) -> Size:
        """How many of its parameters are added, not multiplied."""
        return ZERO

    @property
    def macs(self) -> Size:
        """Its multiply-accumulates."""
        return ZERO

    @property
    def uncounted(self) -> Uncounted:
        """Its work outside contractions: (kind, elements) pairs."""
        return ()
