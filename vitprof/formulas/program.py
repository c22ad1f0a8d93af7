"""A forward pass as data: its calls in order, and the lifetime of each tensor.

A program records one run of a formula on shapes. It depends neither on a device nor on a
dtype nor on the training setup: its readers add those.

Tensors are numbered. `Release` marks the point at which no variable of the forward pass
holds a tensor any longer, so that Python frees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vitprof.formulas.layer import Layer, equal_layers
from vitprof.formulas.op import Op, Parameter, Shape
from vitprof.values.size import Size


@dataclass(slots=True)
class Call:
    """A call of an op.

    Attributes:
        op: the op, with its counts.
        reads: numbers of the input tensors.
        write: number of the output tensor.
    """

    op: Op
    reads: tuple[int, ...]
    write: int


@dataclass(slots=True)
class Move:
    """A call of a tensor method without arithmetic: a view, a copy or a cast.

    Attributes:
        method: name of the method in torch.
        arguments: arguments other than tensors.
        reads: numbers of the input tensors.
        shapes: shapes of the output tensors.
        writes: numbers of the output tensors.
    """

    method: str
    arguments: tuple[Any, ...]
    reads: tuple[int, ...]
    shapes: tuple[Shape, ...]
    writes: tuple[int, ...]


@dataclass(slots=True)
class Release:
    """The end of the last variable that holds the tensor of this number."""

    tensor: int


@dataclass(slots=True)
class Module:
    """The calls of a submodule.

    Attributes:
        name: last part of its path.
        type: class name of the torch module.
        body: its entries, in order.
    """

    name: str
    type: str
    body: list[Entry]


@dataclass(slots=True)
class Block:
    """The calls of a block, which activation checkpointing runs again in the backward pass.

    Attributes:
        body: its entries, in order.
        reads: numbers of its input tensors.
        write: number of its output tensor.
    """

    body: list[Entry]
    reads: tuple[int, ...]
    write: int


@dataclass(slots=True)
class Repeat:
    """Equal modules of a module list in a row, each of which reads the output of the one before.

    Attributes:
        name: last part of the path of the list.
        type: class name of the torch modules in it.
        times: number of such modules in the list, also elsewhere.
        body: entries of one of them, in order.
        read: number of the input tensor of the first.
        write: number of the output tensor of the last.
        here: numbers of those in the row.
        numbers: numbers of such modules in the list; empty if they are all of it.
    """

    name: str
    type: str
    times: Size
    body: list[Entry]
    read: int
    write: int
    here: range
    numbers: tuple[int, ...]


Entry = Call | Move | Release | Module | Block | Repeat


@dataclass(slots=True)
class Program:
    """A model's forward pass.

    Attributes:
        type: class name of the torch module.
        inputs: shapes of the input tensors, by number.
        body: entries of the forward pass, in order.
        output: number of the first output tensor.
        loss: entries of the loss, in order.
        result: number of the loss tensor.
    """

    type: str
    inputs: dict[int, Shape]
    body: list[Entry]
    output: int
    loss: list[Entry]
    result: int

    def tree(self) -> Layer:
        """Return the ops of the forward pass as a tree of layers."""
        return tree("", self.type, self.body)


def tree(name: str, type: str, body: Sequence[Entry]) -> Layer:
    """Return the ops of a module as a tree, its own parameters after its submodules."""
    children: list[Layer | Op] = []
    parameters: list[Op] = []
    _add(body, children, parameters)
    return Layer(name, type, (*children, *parameters))


def _add(body: Sequence[Entry], children: list[Layer | Op], parameters: list[Op]) -> None:
    for entry in body:
        if isinstance(entry, Call):
            op = entry.op
            (parameters if isinstance(op, Parameter) else children).append(op)
        elif isinstance(entry, Module):
            children.append(tree(entry.name, entry.type, entry.body))
        elif isinstance(entry, Block):
            _add(entry.body, children, parameters)
        elif isinstance(entry, Repeat) and entry.here.start == 0:
            children.append(_module_list(entry.name, body))


def _module_list(name: str, body: Sequence[Entry]) -> Layer:
    """Return the modules of a list that entries run, those that are equal together."""
    rows = [entry for entry in body if isinstance(entry, Repeat) and entry.name == name]
    equal = [
        equal_layers(tree("0", row.type, row.body), row.times, row.numbers)
        for row in rows
        if not row.numbers or row.here.start == row.numbers[0]
    ]
    return Layer(name, "ModuleList", tuple(equal))
