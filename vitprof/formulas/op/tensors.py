"""Tensors that a module holds itself, without a layer that owns them."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.op.base import Op, Shape
from vitprof.formulas.work import Work
from vitprof.values.size import Size, product


@dataclass(slots=True)
class Parameter(Op):
    """A parameter that no layer owns: a class token, a table of positions.

    Attributes:
        axes: its shape.
        trained: False for one that the optimizer leaves alone.
    """

    axes: Shape
    trained: bool
    work = Work.PARAMETER
    module = False

    @property
    def shape(self) -> Shape:
        return self.axes

    @property
    def weights(self) -> Size:
        return product(self.axes)


@dataclass(slots=True)
class Buffer(Op):
    """Numbers that a module holds and no optimizer changes: no parameters.

    Attributes:
        axes: its shape.
        dtype: `float` for that of the weights, or `int64`.
    """

    axes: Shape
    dtype: str = "float"
    work = Work.BUFFER
    module = False

    @property
    def type(self) -> str:
        return ""

    @property
    def shape(self) -> Shape:
        return self.axes
