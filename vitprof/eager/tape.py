"""Tensors without numbers, and the graph that autograd would make of them.

A `Node` stands for one function of PyTorch's graph: it keeps storages for the backward
pass, and its `backward` says which gradients that allocates. As in PyTorch, a node runs
when all that came after it has run, and what it kept is let go when it has; gradients
that reach a tensor from two sides are added into a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        again: what is kept was computed again in the backward pass, and is let go as soon
            as it has been read.
    """

    __slots__ = ("again", "at", "backward", "gradient", "inputs", "kept", "size")

    def __init__(
        self,
        at: str,
        size: Size,
        inputs: Sequence[Node | None] = (),
        backward: Backward | None = None,
        kept: Kept = (),
        *,
        again: bool = False,
    ) -> None:
        self.at = at
        self.size = size
        self.inputs = inputs
        self.backward = backward
        self.kept = kept
        self.again = again
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
        self.kept = (*self.kept, gradient)
        self.gradient = gradient


class Checkpoint(Node):
    """A block of which only the input is kept, and which is run again for its gradients."""

    __slots__ = ("run",)

    def __init__(
        self,
        at: str,
        size: Size,
        inputs: Sequence[Node | None],
        kept: Kept,
        run: Callable[[Storage], Node],
    ) -> None:
        super().__init__(at, size, inputs, None, kept)
        self.run = run

    def resolve(self, account: Account) -> None:
        """Run the block again, and hand the gradient to the node of its output."""
        last = self.run(self.kept[0])
        gradient, self.gradient, self.kept = self.gradient, None, ()
        assert gradient is not None
        last.take(gradient, account)


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
        if isinstance(node, Checkpoint):
            node.resolve(self._account)  # which puts the block's nodes on the tape
            return
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
    kept = node.kept
    if node.again:
        node.kept = ()
    return kept
