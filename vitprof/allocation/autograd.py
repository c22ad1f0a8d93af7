"""Tensors without numbers, the graph that autograd makes of them, and its backward pass.

A `Node` stands for one function of PyTorch's graph: it keeps tensors, and `back` says which
gradients it allocates of the one that it is given. As in PyTorch's engine, functions run from
the one that was made last; what a function returns is reduced to the shape and cast to the
dtype of its input; then the gradients that it was given are let go, then what it kept, then
its results go on to the functions that wait for them. A parameter takes its gradient over if
nobody else holds it and it is laid out alike, and else copies it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitprof.allocation.strides import Ints
from vitprof.allocation.timeline import BYTES, Storage
from vitprof.formulas.op import Shape

if TYPE_CHECKING:
    from vitprof.formulas.program import Entry


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


# From the gradients of what a function made, None where none has arrived, and from what it has
# kept, to those of its inputs.
Back = Callable[[Sequence[Any], Sequence[Any]], Sequence[Tensor | None]]


@dataclass(slots=True)
class Edge:
    """Where the gradient of a function's input goes.

    Attributes:
        node: the function that made the input, or its parameter.
        slot: which of that function's outputs it is.
        sizes: the input's axes.
        dtype: the input's.
    """

    node: Node
    slot: int
    sizes: Shape
    dtype: str


class Node:
    """A function of the graph, waiting for the gradients of what it made.

    Attributes:
        at: path of the op that it belongs to.
        edges: where the gradients of its inputs go; None where none is wanted.
        back: makes them.
        saved: what it keeps for that.
        grads: the gradients that have arrived, one an output.
    """

    __slots__ = ("at", "back", "edges", "grads", "saved")

    def __init__(self, at: str, edges: Sequence[Edge | None]) -> None:
        self.at = at
        self.edges = edges
        self.back: Back | None = None
        self.saved: list[Tensor | Promise] = []
        self.grads: list[Tensor | None] = [None]

    def wants(self, place: int) -> bool:
        """Whether the gradient of an input is wanted."""
        return self.edges[place] is not None


class Leaf(Node):
    """A parameter, waiting for its gradient.

    Attributes:
        shape: its axes.
        strides: how it lies in memory.
        uses: how many gradients are still to come.
    """

    __slots__ = ("shape", "strides", "uses")

    def __init__(self, at: str, shape: Ints, strides: Ints) -> None:
        super().__init__(at, ())
        self.shape = shape
        self.strides = strides
        self.uses = 0


class EnoughError(Exception):
    """All that a checkpointed block has promised is there again: PyTorch stops there."""


class Frame:
    """A checkpointed block: what its functions keep is promised, and made again when first read.

    Attributes:
        body: what the block does.
        read: its input, as a tensor of the program.
        input: its input, which is held instead.
        path: where the block is.
        promises: how many things are promised.
        left: how many functions' promises are still to be kept.
        made: what was promised, once it has been made again.
        numbers: what the functions of the block that runs again keep besides, while it runs.
        generator: the generator's state before a block that draws random numbers, which is held
            to draw the same again; on a CPU a tensor.
    """

    __slots__ = (
        *("body", "generator", "input", "left", "made", "numbers", "path", "promises", "read"),
    )

    def __init__(self, body: list[Entry], read: int, input: Tensor, path: str) -> None:
        self.body = body
        self.read = read
        self.input: Tensor | None = input
        self.path = path
        self.promises = self.left = 0
        self.made: list[Tensor | None] | None = None
        self.numbers: list[Tensor] = []
        self.generator: list[Tensor] = []


@dataclass(slots=True)
class Promise:
    """A tensor that a block will make again."""

    frame: Frame
    index: int


@dataclass(slots=True)
class Boundary:
    """Where one of equal blocks hands its output on.

    Attributes:
        instant: the last one before the backward pass goes on into the block.
        gradient: all that matters of the gradient that it goes on with.
    """

    instant: int = 0
    gradient: list[Any] | None = None
