"""Parameters and buffers that a module owns itself, not a layer in it."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.op.base import Op, Shape
from vitprof.formulas.work import Work
from vitprof.values.size import Size, product


@dataclass(slots=True)
class Parameter(Op):
    """A parameter outside layers, such as a class token or a position embedding.

    Attributes:
        axes: its shape.
        trained: True if it takes a gradient.
        owned: True if it is the parameter of a layer, such as a norm's gain.
    """

    axes: Shape
    trained: bool
    owned: bool = False
    work = Work.PARAMETER
    module = False

    @property
    def words(self) -> str:
        return "parameter" if self.trained else "parameter that takes no gradient"

    @property
    def shape(self) -> Shape:
        return self.axes

    @property
    def weights(self) -> Size:
        return product(self.axes)


@dataclass(slots=True)
class Buffer(Op):
    """A buffer of a module, which counts as no parameters.

    Attributes:
        axes: its shape.
        dtype: `float` for the dtype of the weights, or `int64`.
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
