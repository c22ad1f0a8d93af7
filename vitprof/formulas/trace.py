"""Record a formula as a program: calls, moves and the lifetime of each tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from vitprof.formulas.op import Buffer, Op, Parameter, Shape
from vitprof.formulas.program import Block, Call, Entry, Module, Move, Program, Release, Repeat
from vitprof.formulas.run import EqualModules, Forward, Made, Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import Size


class Traced(Tensor):
    """A numbered tensor, whose moves and whose release are recorded."""

    __slots__ = ("number",)
    run: Tracer

    def __init__(self, run: Tracer, shape: Shape) -> None:
        super().__init__(run, shape)
        run.tensors += 1
        self.number = run.tensors

    def __del__(self) -> None:
        self.run.entries.append(Release(self.number))


def _recorded(method_name: str) -> Callable[..., Any]:
    """Return the tensor method of this name, extended to record each call."""
    method = getattr(Tensor, method_name)

    def move(x: Traced, *arguments: Any) -> Traced | tuple[Traced, ...]:
        made = method(x, *arguments)
        others = [argument for argument in arguments if isinstance(argument, Tensor)]
        own = tuple([argument for argument in arguments if not isinstance(argument, Tensor)])
        parts = x.run.record_move(
            method_name, own, (x, *others), made if isinstance(made, tuple) else (made,)
        )
        return parts if isinstance(made, tuple) else parts[0]

    return move


for _word in (
    *("reshape", "permute", "transpose", "unsqueeze", "squeeze", "expand", "unbind", "split"),
    *("narrow", "select", "unfold", "contiguous", "clone", "flip", "roll", "to", "exact", "detach"),
    *("view_as_complex", "argsort", "ge", "gather", "index", "type_as"),
):
    setattr(Traced, _word, _recorded(_word))


class Tracer(Run):
    """Records a forward pass as a program.

    Attributes:
        entries: entries of the running module, until now.
        tensors: number of tensors, until now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self.tensors = 0

    def input(self, shape: Shape) -> Traced:
        return Traced(self, shape)

    def rand(self, *shape: Size) -> Tensor:
        return self.record_move("rand", (), (), (super().rand(*shape),))[0]

    def cat(self, parts: Sequence[Tensor], dim: int, whole: Size) -> Tensor:
        return self.record_move("cat", (dim,), parts, (super().cat(parts, dim, whole),))[0]

    def pad(self, x: Tensor, *sizes: Size) -> Tensor:
        padded = super().pad(x, *sizes)
        return x if padded is x else self.record_move("pad", (), (x,), (padded,))[0]

    def record_move(
        self,
        method: str,
        arguments: tuple[Any, ...],
        reads: Sequence[Tensor],
        made: Sequence[Tensor],
    ) -> tuple[Traced, ...]:
        """Record a call without arithmetic, and return its outputs."""
        shapes = tuple([y.shape for y in made])
        parts = tuple([Traced(self, shape) for shape in shapes])
        self.entries.append(Move(method, arguments, _numbers(reads), shapes, _numbers(parts)))
        return parts

    def layer(self, name: str, type: str, forward: Forward[Made], *inputs: Tensor) -> Made:
        outside, self.entries = self.entries, []
        made = forward(*inputs)
        body, self.entries = self.entries, outside
        outside.append(Module(name, type, body))
        return made

    def block(self, forward: Forward[Tensor], x: Tensor, *shared: Tensor) -> Tensor:
        outside, self.entries = self.entries, []
        y = forward(x, *shared)
        body, self.entries = self.entries, outside
        outside.append(Block(body, _numbers((x, *shared)), *_numbers((y,))))
        return y

    def module_list(
        self, name: str, type: str, kinds: Sequence[EqualModules]
    ) -> Iterator[Forward[Tensor]]:
        def block(kind: EqualModules, here: range, x: Tensor) -> Tensor:
            outside, self.entries = self.entries, []
            y = kind.forward(x)
            body, self.entries = self.entries, outside
            (read,), (write,) = _numbers((x,)), _numbers((y,))
            outside.append(Repeat(name, type, kind.times, body, read, write, here, kind.numbers))
            self.check_alike(x, y, name)
            return y

        for kind, here in _in_order(kinds):
            yield partial(block, kind, here)

    def _call(self, op: Op, shape: Shape, x: Tensor, *others: Tensor) -> Tensor:
        y = Traced(self, shape)
        self.entries.append(Call(op, _numbers((x, *others)), y.number))
        return y

    def _hold(self, op: Parameter | Buffer) -> Tensor:
        y = Traced(self, op.axes)
        self.entries.append(Call(op, (), y.number))
        return y


def _in_order(kinds: Sequence[EqualModules]) -> Iterator[tuple[EqualModules, range]]:
    """Yield kinds of modules in the order in which they run, each with the numbers of a row."""
    if len(kinds) == 1:
        yield kinds[0], range(kinds[0].times.value)
        return
    placed = sorted((number, place) for place, kind in enumerate(kinds) for number in kind.numbers)
    for place, row in groupby(placed, key=itemgetter(1)):
        numbers = [number for number, _ in row]
        yield kinds[place], range(numbers[0], numbers[-1] + 1)


def trace(
    type: str,
    forward: Callable[[Run, Tensor], Tensor],
    loss: Callable[[Run, Tensor], Tensor],
    shape: Shape,
) -> Program:
    """Return the program of a forward pass and of its loss.

    Args:
        type: class name of the torch module.
        forward: the forward pass.
        loss: the loss of its output.
        shape: shape of its input.

    Raises:
        FormulaError: two ops do not fit together.
    """
    run = Tracer()
    x = run.input(shape)
    y = forward(run, x)
    body, run.entries = run.entries, []
    made = loss(run, y)
    (output, result), inputs = _numbers((y, made)), {x.number: shape}
    del y
    entries, run.entries = run.entries, []  # releases after the loss are not part of the program
    return Program(type, inputs, body, output, entries, result)


def _numbers(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple([tensor.number for tensor in tensors if isinstance(tensor, Traced)])
