"""Tensors without numbers: where they lie in memory, and what made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.allocation.strides import Ints
from vitprof.allocation.timeline import BYTES, Storage
from vitprof.formulas.op import Shape

if TYPE_CHECKING:
    from vitprof.allocation.autograd import Node


class Tensor:
    """A tensor as far as memory goes.

    Attributes:
        sizes: its axes, by name.
        shape: its axes.
        strides: how far neighbours along each axis lie apart, in elements.
        dtype: a key of `BYTES`.
        storage: where it lies.
        wanted: whether it requires a gradient.
        node: the function that made it, if one has to be run backward.
        slot: which of that function's outputs it is.
        leaf: whether it is a parameter.
        holders: how many hold it: variables, nodes of the graph, sums of gradients.
    """

    __slots__ = (
        *("dtype", "holders", "leaf", "node", "shape", "sizes", "slot", "storage"),
        *("strides", "wanted"),
    )

    def __init__(self, sizes: Shape, strides: Ints, dtype: str, storage: Storage) -> None:
        self.sizes = sizes
        self.shape: Ints = tuple([size.value for size in sizes])
        self.strides = strides
        self.dtype = dtype
        self.storage = storage
        self.wanted = False
        self.node: Node | None = None
        self.slot = 0
        self.leaf = False
        self.holders = 0

    @property
    def layout(self) -> tuple[Ints, Ints]:
        """Shape and strides."""
        return self.shape, self.strides


def widest(*tensors: Tensor) -> str:
    """The dtype that PyTorch promotes to: of more bytes, one with axes before one without."""
    with_axes = [tensor for tensor in tensors if tensor.shape] or tensors
    return max((tensor.dtype for tensor in with_axes), key=lambda dtype: BYTES[dtype])
