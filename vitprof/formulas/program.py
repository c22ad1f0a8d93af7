"""A forward pass as data: its calls in order, and how long each tensor is held.

A program is what a formula leaves behind when it has run once on tensors that know only
their shapes. Nothing in it depends on a device, a dtype or a way to train: those are the
business of whoever reads it.

Tensors are numbers. `Release` says that no variable of the forward pass holds a tensor any
longer, which is when Python would let go of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vitprof.formulas.layer import Layer
from vitprof.formulas.op import Op, Parameter, Shape
from vitprof.values.size import Size


@dataclass(slots=True)
class Call:
    """An op that runs.

    Attributes:
        op: its facts.
        reads: the tensors that it is given.
        write: the tensor that it makes.
    """

    op: Op
    reads: tuple[int, ...]
    write: int


@dataclass(slots=True)
class Move:
    """A line that does no arithmetic: a view, a copy, a cast; a method of torch's tensors.

    Attributes:
        method: its name in torch.
        arguments: what it is given, tensors apart.
        reads: the tensors that it is given.
        shapes: of what it makes.
        writes: the tensors that it makes.
    """

    method: str
    arguments: tuple[Any, ...]
    reads: tuple[int, ...]
    shapes: tuple[Shape, ...]
    writes: tuple[int, ...]


@dataclass(slots=True)
class Release:
    """The end of the last variable that holds a tensor."""

    tensor: int


@dataclass(slots=True)
class Module:
    """What a submodule does.

    Attributes:
        name: last part of its path.
        type: class name of the torch module.
        body: what it does.
    """

    name: str
    type: str
    body: list[Entry]


@dataclass(slots=True)
class Block:
    """What a block does, which activation checkpointing does again in the backward pass.

    Attributes:
        body: what it does.
        read: its input.
        write: its output.
    """

    body: list[Entry]
    read: int
    write: int


@dataclass(slots=True)
class Repeat:
    """A module list of equal modules, each of which reads what the one before has written.

    Attributes:
        name: last part of its path.
        type: class name of the torch modules in it.
        times: how many they are.
        body: what one of them does.
        read: the first one's input.
        write: the last one's output.
    """

    name: str
    type: str
    times: Size
    body: list[Entry]
    read: int
    write: int


Entry = Call | Move | Release | Module | Block | Repeat


@dataclass(slots=True)
class Program:
    """A model's forward pass.

    Attributes:
        type: class name of the torch module.
        inputs: shapes of the tensors that it is given, by their numbers.
        body: what it does.
        output: what it returns first.
        loss: what a step makes of the output.
        result: the loss.
    """

    type: str
    inputs: dict[int, Shape]
    body: list[Entry]
    output: int
    loss: list[Entry]
    result: int

    def tree(self) -> Layer:
        """The ops as a tree of layers, to be counted."""
        return tree("", self.type, self.body)


def tree(name: str, type: str, body: Sequence[Entry], repeat: Size | None = None) -> Layer:
    """The ops of a module as a tree, its own parameters after its submodules."""
    children: list[Layer | Op] = []
    parameters: list[Op] = []
    _add(body, children, parameters)
    return Layer(name, type, (*children, *parameters), repeat)


def _add(body: Sequence[Entry], children: list[Layer | Op], parameters: list[Op]) -> None:
    for entry in body:
        if isinstance(entry, Call):
            op = entry.op
            (parameters if isinstance(op, Parameter) else children).append(op)
        elif isinstance(entry, Module):
            children.append(tree(entry.name, entry.type, entry.body))
        elif isinstance(entry, Block):
            _add(entry.body, children, parameters)
        elif isinstance(entry, Repeat):
            one = tree("0", entry.type, entry.body, repeat=entry.times)
            children.append(Layer(entry.name, "ModuleList", (one,)))
