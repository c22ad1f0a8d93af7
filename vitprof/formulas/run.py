"""What a formula runs on: the forward pass on paper, op by op.

A formula is a forward pass written down with ops in place of torch's functions, line by
line as in the torch module. A `Run` takes the ops as they come: `count` notes them down
as a tree, `vitprof.eager` also follows the tensors between them. Some lines cost no
arithmetic and move tensors only; they are methods of their own, and nothing to `count`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from vitprof.formulas.layer import Layer
from vitprof.formulas.op import Op, Parameter, Shape
from vitprof.formulas.size import Size

T = TypeVar("T")


class Run(ABC, Generic[T]):
    """Takes a forward pass op by op; `T` is what it knows of a tensor."""

    @abstractmethod
    def __call__(self, op: Op, *inputs: T) -> T:
        """Apply an op to tensors, and return what it writes."""

    @abstractmethod
    def layer(self, name: str, type: str, forward: Callable[[T], T], x: T) -> T:
        """Run `forward` on `x` as a submodule; `type` is the torch class."""

    @abstractmethod
    def block(self, forward: Callable[[T], T], x: T) -> T:
        """Run a block, which activation checkpointing runs again in the backward pass."""

    @abstractmethod
    def blocks(
        self, name: str, times: Size, type: str, forward: Callable[[T], T]
    ) -> Iterator[Callable[[T], T]]:
        """Yield, for a loop over a ModuleList, what stands for its `times` equal blocks."""

    @abstractmethod
    def fresh(self, shape: Shape, dtype: str) -> T:
        """A tensor made of nothing, without a gradient: noise, a mask.

        Args:
            shape: its shape.
            dtype: `float` for that of the weights, or `fp32`, `int64`, `bool`.
        """

    @abstractmethod
    def lowered(self, x: T) -> T:
        """The same numbers as a contraction reads them in mixed precision."""

    @abstractmethod
    def copy(self, x: T, *across: Size) -> T:
        """The same numbers in another order in memory; the gradient is only read so.

        Args:
            x: the tensor.
            across: the axes that change places; where one of them is 1, nothing does.
        """

    @abstractmethod
    def reordered(self, x: T, *across: Size) -> T:
        """The same memory, read in another order; the gradient is copied to this one.

        Args:
            x: the tensor.
            across: the axes that change places; where one of them is 1, nothing does.
        """

    @abstractmethod
    def parts(self, x: T, *shapes: Shape) -> tuple[T, ...]:
        """Views of the parts of a tensor; their gradients are put together again."""

    @abstractmethod
    def joined(self, shape: Shape, *parts: T) -> T:
        """Tensors put together to one of a shape; each gradient is a view of the whole one's."""

    @abstractmethod
    def picked(self, x: T, shape: Shape) -> T:
        """A view of some of a tensor; the gradient is zero elsewhere."""

    @abstractmethod
    def expanded(self, x: T, shape: Shape) -> T:
        """A view that repeats a tensor; the gradients are added up."""

    @abstractmethod
    def sorted(self, x: T) -> T:
        """The places of a tensor's numbers in their order, as int64."""

    @abstractmethod
    def gathered(self, x: T, places: T, shape: Shape) -> T:
        """Some of a tensor, picked by places; the gradients are scattered back."""


def count(name: str, type: str, forward: Callable[[Run[None], None], None]) -> Layer:
    """The ops of a forward pass as a tree, a module's own parameters after its submodules."""
    run = _Count()
    return run.noted(name, type, lambda x: forward(run, x))


class _Count(Run[None]):
    def __init__(self) -> None:
        self._children: list[Layer | Op] = []
        self._parameters: list[Op] = []

    def noted(
        self, name: str, type: str, forward: Callable[[None], None], repeat: Size | None = None
    ) -> Layer:
        outside = self._children, self._parameters
        self._children, self._parameters = [], []
        forward(None)
        layer = Layer(name, type, (*self._children, *self._parameters), repeat)
        self._children, self._parameters = outside
        return layer

    def __call__(self, op: Op, *inputs: None) -> None:
        (self._parameters if isinstance(op, Parameter) else self._children).append(op)

    def layer(self, name: str, type: str, forward: Callable[[None], None], x: None) -> None:
        self._children.append(self.noted(name, type, forward))

    def block(self, forward: Callable[[None], None], x: None) -> None:
        forward(x)

    def blocks(
        self, name: str, times: Size, type: str, forward: Callable[[None], None]
    ) -> Iterator[Callable[[None], None]]:
        def block(x: None) -> None:
            one = self.noted("0", type, forward, repeat=times)
            self._children.append(Layer(name, "ModuleList", (one,)))

        yield block

    def fresh(self, shape: Shape, dtype: str) -> None:
        pass

    def lowered(self, x: None) -> None:
        pass

    def copy(self, x: None, *across: Size) -> None:
        pass

    def reordered(self, x: None, *across: Size) -> None:
        pass

    def parts(self, x: None, *shapes: Shape) -> tuple[None, ...]:
        return (None,) * len(shapes)

    def joined(self, shape: Shape, *parts: None) -> None:
        pass

    def picked(self, x: None, shape: Shape) -> None:
        pass

    def expanded(self, x: None, shape: Shape) -> None:
        pass

    def sorted(self, x: None) -> None:
        pass

    def gathered(self, x: None, places: None, shape: Shape) -> None:
        pass
