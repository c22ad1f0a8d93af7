"""Elementwise work and reductions, which are no contractions."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.op.base import Op, Shape, Uncounted
from vitprof.formulas.work import Work
from vitprof.values.size import product


@dataclass(slots=True)
class Elementwise(Op):
    """Elementwise work or a reduction, by a submodule or in the forward of its parent.

    Attributes:
        work: its kind of work.
        axes: shape of its input.
        out: shape of its output; None if it is that of the input.
        dims: axes that it reduces, or along which it normalises.
        torch_type: class name of the submodule, `Softmax`; empty if there is none.
        quotient: True if a scale divides by its constant.
    """

    work: Work  # type: ignore[misc]  # here an attribute of each op
    axes: Shape
    out: Shape | None = None
    dims: tuple[int, ...] = ()
    torch_type: str = ""
    quotient: bool = False

    @property
    def module(self) -> bool:  # type: ignore[override]
        return bool(self.torch_type)

    @property
    def type(self) -> str:
        return self.torch_type

    @property
    def shape(self) -> Shape:
        return self.axes if self.out is None else self.out

    @property
    def uncounted(self) -> Uncounted:
        return ((self.work, product(self.axes)),)
