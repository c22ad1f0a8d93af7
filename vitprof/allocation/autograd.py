"""Tensors without data, the graph that autograd builds of them, and its backward pass.

A `Node` is one function of autograd's graph: it saves tensors, and its `back` allocates the
gradients of its inputs from those of its outputs. As in PyTorch's engine, the function that was
created last runs first. A gradient that it returns is summed to the shape and cast to the dtype
of the input. Then the gradients that it received are freed, then what it saved, and then its
results are passed to the functions that wait for them. A parameter takes its gradient over if
nothing else holds it and its strides are the parameter's; else it copies the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitprof.allocation.strides import Ints, is_contiguous
from vitprof.allocation.timeline import BYTES, Storage
from vitprof.formulas.op import Pass, Shape

if TYPE_CHECKING:
    from vitprof.formulas.program import Entry


class Tensor:
    """Tensor with all that its memory depends on, and no data.

    Attributes:
        sizes: lengths of its axes, by name.
        shape: lengths of its axes.
        strides: strides of its axes, in elements.
        dtype: a key of `BYTES`.
        storage: its memory, which views share.
        requires_grad: True if it requires a gradient.
        node: the function that made it (`grad_fn`); None if it has none.
        slot: index among that function's outputs.
        leaf: True if it is a parameter.
        is_view: True if it is a view, which holds its base: PyTorch's do without a graph too.
        holders: number of references: variables, nodes of the graph, sums of gradients.
    """

    __slots__ = (
        *("dtype", "holders", "leaf", "node", "shape", "sizes", "slot", "storage"),
        *("requires_grad", "strides", "is_view"),
    )

    def __init__(self, sizes: Shape, strides: Ints, dtype: str, storage: Storage) -> None:
        self.sizes = sizes
        self.shape: Ints = tuple([size.value for size in sizes])
        self.strides = strides
        self.dtype = dtype
        self.storage = storage
        self.requires_grad = False
        self.node: Node | None = None
        self.slot = 0
        self.leaf = False
        self.is_view = False
        self.holders = 0

    @property
    def layout(self) -> tuple[Ints, Ints]:
        """Shape and strides."""
        return self.shape, self.strides

    @property
    def is_contiguous(self) -> bool:
        """True if the tensor is contiguous."""
        return is_contiguous(self.shape, self.strides)


def widest(*tensors: Tensor) -> str:
    """Return the dtype that PyTorch promotes to: the widest of those with axes, if any has axes."""
    with_axes = [tensor for tensor in tensors if tensor.shape] or tensors
    return max((tensor.dtype for tensor in with_axes), key=lambda dtype: BYTES[dtype])


# Maps the gradients of a function's outputs, None if none has arrived, and the tensors that it
# saved to the gradients of its inputs.
Back = Callable[[Sequence[Any], Sequence[Any]], Sequence[Tensor | None]]


@dataclass(slots=True)
class Edge:
    """Edge of the graph, along which the gradient of a function's input is passed.

    Attributes:
        node: the function that made the input, or the leaf of a parameter.
        slot: index of the input among that function's outputs.
        sizes: lengths of the input's axes.
        dtype: dtype of the input.
    """

    node: Node
    slot: int
    sizes: Shape
    dtype: str


class Node:
    """Function of the graph, which waits for the gradients of its outputs.

    Attributes:
        at: path of the op that it belongs to.
        edges: an edge per input; None if the input needs no gradient.
        back: makes the gradients of the inputs.
        saved: tensors that are saved for that.
        grads: gradients that have arrived, one per output.
        products: part of the step of each product of matrices that `back` computes.
        rebuilds: True if `back` computes a part of the forward pass again, in one kernel.
    """

    __slots__ = ("at", "back", "edges", "grads", "products", "rebuilds", "saved")

    def __init__(self, at: str, edges: Sequence[Edge | None]) -> None:
        self.at = at
        self.edges = edges
        self.back: Back | None = None
        self.saved: list[Tensor | Promise] = []
        self.grads: list[Tensor | None] = [None]
        self.products: list[Pass] = []
        self.rebuilds = False

    def needs_grad(self, place: int) -> bool:
        """Return True if an input needs a gradient (`ctx.needs_input_grad`)."""
        return self.edges[place] is not None


class Leaf(Node):
    """Leaf of the graph: a parameter, which waits for its gradient.

    Attributes:
        shape: shape of the parameter.
        strides: strides of the parameter, in elements.
        uses: number of gradients that are still to come.
    """

    __slots__ = ("shape", "strides", "uses")

    def __init__(self, at: str, shape: Ints, strides: Ints) -> None:
        super().__init__(at, ())
        self.shape = shape
        self.strides = strides
        self.uses = 0


class EnoughError(Exception):
    """Signal that a recomputed block has made all that it promised: PyTorch stops there."""


class Frame:
    """Checkpointed block: what its functions save is promised, and made again when first read.

    Attributes:
        body: entries of the block.
        inputs: its inputs by their numbers in the program, which are held in place of what is
            promised; empty once they are let go.
        path: path of the block.
        promises: number of tensors that are promised.
        left: number of promises that functions still hold.
        made: the promised tensors, once they have been made again.
        kept: scalars and generator states that are held while the block is recomputed.
        generator: the generator's state before a block that draws random numbers, which is held
            to draw the same again; on a CPU a tensor.
    """

    __slots__ = (*("body", "generator", "inputs", "kept", "left", "made", "path", "promises"),)

    def __init__(self, body: list[Entry], inputs: dict[int, Tensor], path: str) -> None:
        self.body = body
        self.inputs = inputs
        self.path = path
        self.promises = self.left = 0
        self.made: list[Tensor | None] | None = None
        self.kept: list[Tensor] = []
        self.generator: list[Tensor] = []


@dataclass(slots=True)
class Promise:
    """Saved tensor that a checkpointed block will make again."""

    frame: Frame
    index: int


@dataclass(slots=True)
class Boundary:
    """Boundary after one of equal blocks.

    Attributes:
        instant: the last instant before the backward pass enters the block.
        gradient: signature of the gradient that enters it.
    """

    instant: int = 0
    gradient: list[Any] | None = None
