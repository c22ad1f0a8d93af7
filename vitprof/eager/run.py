"""Eager PyTorch on paper: which tensors a pass allocates, keeps and lets go.

The rules are PyTorch's own, of autograd, autocast and activation checkpointing, as far as
the formulas use them; `vitprof.modules.trace` shows the same of the running module. What a
kernel allocates within itself, a library's workspace, is no tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from vitprof.eager.account import Account, Storage
from vitprof.eager.rules import RULES, Rule, rule_of
from vitprof.eager.tape import (
    Again,
    Backward,
    Gradient,
    Kept,
    Leaf,
    Node,
    Parts,
    Promise,
    Tape,
)
from vitprof.eager.tensor import BYTES, Tensor, widest
from vitprof.formulas.layer import join
from vitprof.formulas.op import Op, Parameter, Shape
from vitprof.formulas.run import Run
from vitprof.formulas.size import Size, product

if TYPE_CHECKING:
    from vitprof.workload import Workload


class Eager(Run[Tensor]):
    """A forward pass on tensors without numbers, and the backward pass after it.

    Attributes:
        account: books what is held.
        dtype: what contractions compute in.
        weight_dtype: what parameters are kept in.
        training: in train mode.
        on_card: with the kernels and the list of autocast that a CUDA card has.
    """

    def __init__(
        self, account: Account, workload: Workload, rules: Mapping[str, Rule] = RULES
    ) -> None:
        self.account = account
        self.on_card = workload.device == "cuda"
        self.dtype = workload.dtype
        self.weight_dtype = "fp32" if workload.autocast else workload.dtype
        self.training = not workload.inference
        self._rules = rules
        self._checkpoint = workload.checkpoint
        self._autocast = workload.autocast
        self._parameters = account.hold(Size(0), "parameters")
        self._leaves: list[Leaf] = []
        self._casts: list[Storage] = []
        self._gradients: list[Storage] = []
        self._tape: Tape | None = Tape(account) if self.training else None
        self._path = ""
        self._promising: Again | None = None
        self._remaking: Again | None = None
        self._remade = False

    # What the ops' rules are made of

    def new(self, elements: Size, dtype: str) -> Storage:
        """Allocate a tensor's memory."""
        if self._remade:
            return self.account.hold(Size(0), "temporaries")
        return self.account.allocate(elements * BYTES[dtype])

    def made(
        self,
        storage: Storage,
        elements: Size,
        dtype: str,
        inputs: Sequence[Tensor],
        backward: Backward | None = None,
        kept: Kept | Promise = (),
        node: type[Node] = Node,
    ) -> Tensor:
        """What an op wrote, or a view of it, with the way that its gradient goes on.

        Args:
            storage: where it lies.
            elements: how many numbers.
            dtype: a key of `BYTES`.
            inputs: what it was made of.
            backward: from its gradient to theirs; without one, each gets a new one.
            kept: what `keep` gave for the backward pass.
            node: what kind of function it is.
        """
        nodes = [x.node for x in inputs]
        if self._tape is None or not any(nodes):
            return Tensor(elements, dtype, storage)
        if backward is None:
            gradients = [self.gradient(x) for x in inputs]

            def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
                return [gradient() for gradient in gradients]

        function = node(self.account.at, elements * BYTES[dtype], nodes, backward, kept)
        self._tape.add(function)
        return Tensor(elements, dtype, storage, function)

    def passed(self, storage: Storage, elements: Size, x: Tensor) -> Tensor:
        """A tensor whose gradient is that of `x` too, or a view of a part of it."""
        return self.made(storage, elements, x.dtype, (x,), lambda g, kept: (g,))

    def keep(self, *storages: Storage) -> Kept | Promise:
        """Book what an op keeps for the backward pass."""
        if self._tape is None:
            return ()
        if self._promising is not None:
            return self._promising.promise()
        for storage in storages:
            if storage.entry.kind == "temporaries":
                self.account.turn(storage, "saved")
        if self._remaking is not None:
            self._remade = self._remaking.keep(storages)
            return ()
        return storages

    def gradient(self, x: Tensor) -> Callable[[], Gradient]:
        """What allocates the gradient of `x`, if one is wanted, without keeping `x`."""
        elements, dtype = x.elements, x.dtype
        return (lambda: None) if x.node is None else (lambda: self.new(elements, dtype))

    def weight(self, elements: Size, *, lowered: bool) -> Tensor:
        """Weights or biases of the op that runs; a copy in `dtype` for a contraction."""
        leaf = Leaf(self.account.at, elements * BYTES[self.weight_dtype])
        self._leaves.append(leaf)
        weight = Tensor(elements, self.weight_dtype, self._parameters, leaf)
        if not lowered or not self._autocast:
            return weight
        copied = self.cast(weight, self.dtype)
        self._casts.append(copied.storage)
        return copied

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """A copy in another dtype, whose gradient is copied back; `x` itself in its own."""
        if x.dtype == dtype:
            return x
        return self.made(self.new(x.elements, dtype), x.elements, dtype, (x,))

    def lowered(self, x: Tensor) -> Tensor:
        """What a contraction reads of `x` in mixed precision."""
        if not self._autocast:
            return x
        lowered = self.cast(x, self.dtype)
        if isinstance(x.node, Leaf):
            self._casts.append(lowered.storage)
        return lowered

    def exact(self, x: Tensor) -> Tensor:
        """What an op reads that autocast on a card computes in fp32."""
        return self.cast(x, "fp32") if self._autocast and self.on_card else x

    def input(self, shape: Shape, dtype: str) -> Tensor:
        """A tensor that is there before the step."""
        elements = product(shape)
        return Tensor(elements, dtype, self.account.hold(elements * BYTES[dtype], "inputs"))

    # Passes

    def backward(self, y: Tensor) -> None:
        """Run the backward pass of a loss."""
        assert self._tape is not None
        assert y.node is not None
        with self._at("loss"):
            seed = self.new(y.elements, y.dtype)  # autograd holds it until the end
            self._tape.backward(y.node, seed)

    def leave_autocast(self) -> None:
        """Let go of the copies of weights that mixed precision has at hand."""
        self._casts.clear()

    # Run

    def __call__(self, op: Op, *inputs: Tensor) -> Tensor:
        with self._at(op.name):
            if isinstance(op, Parameter):
                weight = self.weight(op.weights, lowered=False)
                return weight if op.trained else Tensor(op.weights, weight.dtype, weight.storage)
            return rule_of(op, self._rules)(self, op, *inputs)

    def layer(self, name: str, type: str, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        outside = self._path
        with self._at(name):
            self._path = self.account.at
            try:
                return forward(x)
            finally:
                self._path = outside

    def block(self, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if not self._checkpoint:
            return forward(x)
        node = None if x.node is None else Node("", x.node.size)
        kept = self.keep(x.storage)
        assert not isinstance(kept, Promise)
        again = Again(partial(self._remake, forward, x.elements, x.dtype, node, kept, self._path))
        self._promising = again
        y = forward(x)
        self._promising = None
        return y

    def _remake(
        self,
        forward: Callable[[Tensor], Tensor],
        elements: Size,
        dtype: str,
        node: Node | None,
        kept: Kept,
        path: str,
        again: Again,
    ) -> None:
        """Run a block again until it has kept what it keeps: PyTorch stops there."""
        outside = self._tape, self._path
        self._tape, self._path, self._remaking = Tape(self.account), path, again
        forward(Tensor(elements, dtype, kept[0], node))
        self._remaking, self._remade = None, False
        self._casts.clear()
        self._tape, self._path = outside

    def blocks(
        self, name: str, times: Size, type: str, forward: Callable[[Tensor], Tensor]
    ) -> Iterator[Callable[[Tensor], Tensor]]:
        def block(index: int) -> Callable[[Tensor], Tensor]:
            return lambda x: self.layer(f"{name}.{index}", type, forward, x)

        def first(x: Tensor) -> Tensor:
            y = block(0)(x)
            dtypes.update((x.dtype, y.dtype))
            return y

        if times.value < 3 or self._path:  # of blocks within a mixer, each is followed
            yield from map(block, range(times.value))
            return
        dtypes: set[str] = set()
        before, leaves, casts = dict(self.account.by_kind), len(self._leaves), len(self._casts)
        yield first
        if len(dtypes) > 1:  # the others read another than the first, and each is followed
            yield from map(block, range(1, times.value))
            return
        yield lambda x: self._as_many_again(x, times.value - 2, before, leaves, casts)
        yield block(times.value - 1)

    def _as_many_again(
        self, x: Tensor, times: int, before: dict[str, int], leaves: int, casts: int
    ) -> Tensor:
        """Stand for `times` blocks like the one that has just run.

        What is held grows by the same with each block, forward and backward, so it is the
        most at the first block or at the last, and those between need not be run.
        """
        account, size = self.account, x.elements * BYTES[x.dtype]
        growth = sum(account.by_kind[kind] - before[kind] for kind in ("saved", "temporaries"))
        at_hand = [s.entry for s in self._casts[casts:] if s.entry.kind == "temporaries"]
        copies = sum(entry.size.value for entry in at_hand)
        trained = sum(leaf.size.value for leaf in self._leaves[leaves:])
        self._casts.append(account.hold(Size(times * copies), "temporaries"))
        output = account.hold(size, "temporaries")
        if self._tape is None:
            return Tensor(x.elements, x.dtype, output)
        self.keep(x.storage)
        lump = account.hold(Size(times * (growth - copies) - size.value), "saved")

        def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
            self._gradients.append(account.hold(Size(times * trained), "gradients"))
            return (g,)

        node = Node(account.at, size, [x.node], backward, (x.storage, lump))
        self._tape.add(node)
        return Tensor(x.elements, x.dtype, output, node)

    @contextmanager
    def _at(self, name: str) -> Iterator[None]:
        outside = self.account.at
        self.account.at = join(self._path, name)
        yield
        self.account.at = outside

    # Tensors that only move

    def fresh(self, shape: Shape, dtype: str) -> Tensor:
        elements, own = product(shape), self.weight_dtype if dtype == "float" else dtype
        return Tensor(elements, own, self.new(elements, own))

    def copy(self, x: Tensor, *across: Size) -> Tensor:
        if _single(across):
            return x
        return self.passed(self.new(x.elements, x.dtype), x.elements, x)

    def reordered(self, x: Tensor, *across: Size) -> Tensor:
        if _single(across):
            return x
        return self.made(x.storage, x.elements, x.dtype, (x,))

    def parts(self, x: Tensor, *shapes: Shape) -> tuple[Tensor, ...]:
        whole = self.made(x.storage, x.elements, x.dtype, (x,), node=Parts)
        return tuple(self.passed(x.storage, product(shape), whole) for shape in shapes)

    def joined(self, shape: Shape, *parts: Tensor) -> Tensor:
        dtype = widest(*parts)
        alike = [self.cast(part, dtype) for part in parts]
        elements, count = product(shape), len(alike)
        storage = self.new(elements, dtype)
        return self.made(storage, elements, dtype, alike, lambda g, kept: [g] * count)

    def picked(self, x: Tensor, shape: Shape) -> Tensor:
        return self.made(x.storage, product(shape), x.dtype, (x,))

    def expanded(self, x: Tensor, shape: Shape) -> Tensor:
        return self.made(x.storage, product(shape), x.dtype, (x,))

    def sorted(self, x: Tensor) -> Tensor:
        values = self.new(x.elements, x.dtype)
        places = self.new(x.elements, "int64")
        del values
        return Tensor(x.elements, "int64", places)

    def gathered(self, x: Tensor, places: Tensor, shape: Shape) -> Tensor:
        gradient, elements = self.gradient(x), product(shape)

        def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
            zeros = gradient()
            scattered = gradient()
            del zeros
            return (scattered,)

        with self._at("gather"):
            kept = self.keep(x.storage, places.storage)
            storage = self.new(elements, x.dtype)
            return self.made(storage, elements, x.dtype, (x,), backward, kept)


def _single(axes: Sequence[Size]) -> bool:
    return any(axis.value == 1 for axis in axes)
