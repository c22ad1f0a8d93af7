"""Sizes of a module's inputs that can be varied, and its source at other ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vitprof.captured.source import Input, Source, spell_input

if TYPE_CHECKING:
    from torch import nn

Values = Mapping[str, int]  # by the name of a variable; `B` is the batch


@dataclass(frozen=True, slots=True)
class Variable:
    """A size of the inputs that can be varied.

    Attributes:
        name: `H`, `W`, or `S` of square images, or `N` of tokens.
        value: its value as the module comes.
        step: the formulas hold for this value plus any multiple of it.
        places: numbers of inputs and axes that it is the length of.
    """

    name: str
    value: int
    step: int
    places: tuple[tuple[int, int], ...]


def at_sizes(source: Source, variables: Sequence[Variable], point: Values) -> Source:
    """Return a source whose inputs have other sizes, rebuilt for them where that is needed."""
    changed = {one.name for one in variables if point.get(one.name, one.value) != one.value}
    if not changed:
        return source
    names = {one.name for one in variables}
    if "H" in names:
        source = source.resized(point["H"], point["W"]) or source
    elif "S" in names:
        source = source.resized(point["S"], point["S"]) or source
    inputs = [list(one.axes) for one in source.inputs]
    for one in variables:
        for place, axis in one.places:
            inputs[place][axis] = point.get(one.name, one.value)
    axes = tuple(
        replace(one, axes=tuple(own)) for one, own in zip(source.inputs, inputs, strict=True)
    )
    return _With(source, axes)


@dataclass(frozen=True)
class _With:
    """A source with other inputs."""

    source: Source
    inputs: tuple[Input, ...]

    @property
    def reference(self) -> str:
        return self.source.reference

    @property
    def batch(self) -> int | None:
        return self.source.batch

    def conditions(self) -> Mapping[str, Any]:
        return self.source.conditions()

    def words(self) -> dict[str, object]:
        return {**self.source.words(), "input": [spell_input(one) for one in self.inputs]}

    def build(self) -> nn.Module:
        return self.source.build()

    def resized(self, height: int, width: int) -> Source | None:
        return self.source.resized(height, width)
