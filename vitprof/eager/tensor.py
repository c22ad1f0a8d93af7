"""Tensors as far as memory goes."""

from __future__ import annotations

from vitprof.eager.account import Storage
from vitprof.eager.tape import Node
from vitprof.formulas.size import Size

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int64": 8, "bool": 1, "complex64": 8}


class Tensor:
    """A tensor as far as memory goes.

    Attributes:
        elements: how many numbers.
        dtype: a key of `BYTES`.
        storage: where they lie.
        node: what made it, where its gradient is wanted.
    """

    __slots__ = ("dtype", "elements", "node", "storage")

    def __init__(
        self, elements: Size, dtype: str, storage: Storage, node: Node | None = None
    ) -> None:
        self.elements = elements
        self.dtype = dtype
        self.storage = storage
        self.node = node


def widest(*tensors: Tensor) -> str:
    """The dtype that PyTorch promotes to; among tensors of floats, that of more bytes."""
    return max((tensor.dtype for tensor in tensors), key=lambda dtype: BYTES[dtype])
