"""Tensors without numbers, and the graph that autograd would make of them.

A `Node` stands for one function of PyTorch's graph: it keeps storages for the backward
pass, and its `backward` says which gradients that allocates. As in PyTorch, a node runs
when all that came after it has run, and what it kept is let go when it has; gradients
that reach a tensor from two sides are added into a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vitprof.eager.account import Account, Storage
from vitprof.formulas.size import Size

Gradient = Storage | None
Kept = tuple[Storage, ...]
Backward = Callable[[Storage, Kept], Sequence[Gradient]]


class Node:
    """A function of the graph, waiting for the gradient of what it made.

    Attributes:
        at: the path of the op that it belongs to.
        size: bytes of the gradient that it waits for.
        inputs: the nodes that take the gradients it makes, None where none is wanted.
        backward: from the gradient it waits for, and what is kept, to theirs.
        kept: what is held for `backward`.
    """

    __slots__ = ("at", "backward", "gradient", "inputs", "kept", "size")

    def __init__(
        self,
        at: str,
        size: Size,
        inputs: Sequence[Node | None] = (),
        backward: Backward | None = None,
        kept: Kept | Promise = (),
    ) -> None:
        self.at = at
        self.size = size
        self.inputs = inputs
        self.backward = backward
        self.kept = kept
        self.gradient: Gradient = None

    def take(self, gradient: Storage, account: Account) -> None:
        """Take the gradient, or add it to the one that is there."""
        if self.gradient is None:
            self.gradient = gradient
        else:
            self.gradient = account.allocate(self.size)


class Leaf(Node):
    """A parameter, which keeps its gradient when the backward pass is over."""

    __slots__ = ()

    def take(self, gradient: Storage, account: Account) -> None:
        account.turn(gradient, "gradients")
        self.gradient = gradient


class Parts(Node):
    """A tensor that was taken to parts, which puts their gradients together."""

    __slots__ = ()

    def take(self, gradient: Storage, account: Account) -> None:
        assert not isinstance(self.kept, Promise)
        self.kept = (*self.kept, gradient)
        self.gradient = gradient


class Again:
    """What the nodes of a block keep, made again when the first of them reads it.

    Args:
        remake: runs the block again and hands what it keeps to `keep`, in order.
    """

    def __init__(self, remake: Callable[[Again], None]) -> None:
        self._remake = remake
        self._promised = 0
        self._made: dict[int, Kept] | None = None

    def promise(self) -> Promise:
        """What a node refers to in place of what it keeps."""
        self._promised += 1
        return Promise(self, self._promised - 1)

    def keep(self, storages: Kept) -> bool:
        """Take what is kept next, and say whether all is there that was promised."""
        assert self._made is not None
        at = len(self._made)
        self._made[at] = storages
        return at + 1 == self._promised

    def read(self, index: int) -> Kept:
        """What was promised, which is let go."""
        if self._made is None:
            self._made = {}
            self._remake(self)
        kept, self._made[index] = self._made[index], ()
        return kept


@dataclass(frozen=True, slots=True)
class Promise:
    """What is kept by a node, to be made again."""

    again: Again
    index: int


class Tape:
    """The nodes in the order in which they were made."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._nodes: list[Node] = []

    def add(self, node: Node) -> None:
        """Note a node."""
        self._nodes.append(node)

    def backward(self, last: Node, gradient: Storage) -> None:
        """Run the graph backward from its last node, given the gradient of what that made."""
        last.take(gradient, self._account)
        while self._nodes:
            node = self._nodes.pop()
            if node.gradient is not None:
                self._run(node)

    def _run(self, node: Node) -> None:
        self._account.at = node.at
        assert node.backward is not None
        assert node.gradient is not None
        gradients = list(node.backward(node.gradient, _read(node)))
        node.gradient, node.backward, node.kept = None, None, ()
        gradients.reverse()
        for receiver in node.inputs:
            gradient = gradients.pop()
            if receiver is not None and gradient is not None:
                self._account.at = receiver.at
                receiver.take(gradient, self._account)


def _read(node: Node) -> Kept:
    if not isinstance(node.kept, Promise):
        return node.kept
    promise, node.kept = node.kept, ()
    return promise.again.read(promise.index)
