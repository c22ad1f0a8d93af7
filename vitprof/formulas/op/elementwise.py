"""Work on each element, and reductions: nothing of it is a contraction."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.op.base import Op, Shape, Uncounted
from vitprof.formulas.work import Work
from vitprof.values.size import product


@dataclass(slots=True)
class Elementwise(Op):
    """Softmax, GELU, a sum: by a module of its own, or inline in a parent's forward.

    Attributes:
        work: what is listed as not counted.
        axes: shape of what it works on.
        out: shape of what it writes, where that is another.
        dims: the axes that it reduces.
        torch_type: class name of the module, `Softmax`; empty where it is inline.
    """

    work: Work  # type: ignore[misc]  # of this class each op has its own
    axes: Shape
    out: Shape | None = None
    dims: tuple[int, ...] = ()
    torch_type: str = ""

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
