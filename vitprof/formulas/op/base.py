"""Base class of ops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from vitprof.formulas.op.passes import Passes
from vitprof.formulas.work import Work
from vitprof.values.size import ZERO, Size

Shape = tuple[Size, ...]
Uncounted = tuple[tuple[str, Size], ...]


@dataclass(slots=True)
class Op(ABC):
    """One operation, named after the submodule that computes it.

    Immutable by convention: a frozen dataclass takes three times as long to construct, and
    every count constructs dozens of ops.

    Attributes:
        name: last part of the path, `qkv` in `blocks.0.mixer.qkv`.
        work: its kind of work.
        module: True if a submodule computes it.
        contracts: True if it is a contraction; only contractions have MACs.
        reads: shapes of its inputs; empty if nothing is known to call it.
        passes: its multiply-accumulates in a training step; None if none was followed.
        caller: class in `torch.nn` of the module whose forward calls it; empty if that has another
            class, or a subclass; None if it is on paper.
        spelled: attributes of `torch`, `F` and `Tensor` through which it is called, as
            `F.linear`; None if it is on paper.
    """

    name: str
    reads: tuple[Shape, ...] = field(default=(), kw_only=True, compare=False, repr=False)
    passes: Passes | None = field(default=None, kw_only=True, compare=False, repr=False)
    caller: str | None = field(default=None, kw_only=True, compare=False, repr=False)
    spelled: tuple[str, ...] | None = field(default=None, kw_only=True, compare=False, repr=False)
    work: ClassVar[Work]
    module: ClassVar[bool] = True
    contracts: ClassVar[bool] = False

    @property
    def type(self) -> str:
        """Class name of the torch module that computes it; empty if there is none."""
        return self.__class__.__name__

    @property
    def words(self) -> str:
        """The op as a phrase of a derivation."""
        return self.work.replace("_", " ")

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of its output."""

    @property
    def params(self) -> Size:
        """Number of its parameters."""
        return self.weights if self.biases is ZERO else self.weights + self.biases

    @property
    def weights(self) -> Size:
        """Number of its parameters that are multiplied."""
        return ZERO

    @property
    def biases(self) -> Size:
        """Number of its parameters that are added."""
        return ZERO

    @property
    def macs(self) -> Size:
        """Number of its multiply-accumulates."""
        return ZERO

    @property
    def training_macs(self) -> Size:
        """Number of its multiply-accumulates in a training step, which has been followed."""
        assert self.passes is not None or not self.contracts
        return ZERO if self.passes is None else self.passes.total

    @property
    def rebuilt(self) -> Size:
        """Number of its multiply-accumulates that its backward kernel computes again."""
        return ZERO

    @property
    def uncounted(self) -> Uncounted:
        """Its work outside contractions: (kind, elements) pairs."""
        return ()
