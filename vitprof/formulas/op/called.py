"""Calls of torch functions that are none of the other kinds of op."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.op.base import Op, Shape, Uncounted
from vitprof.formulas.op.passes import Pass
from vitprof.formulas.work import Work
from vitprof.values.size import ZERO, Size, product


@dataclass(slots=True)
class Called(Op):
    """A call of a torch function, of a module that was captured.

    Attributes:
        function: name of the function, `aten::einsum`.
        operands: shapes of its tensors.
        out: shape of its output.
        products: contractions of its kernels: the kernel, and the sizes that are multiplied.
        kind: what its work outside contractions is listed as; empty if it has none.
        detail: what else decides its cost, such as the equation of an einsum.
        torch_type: class name of the submodule that computes it; empty if there is none.
        used: False if nothing that the model returns depends on it.
        unknown: names of its kernels that may contract, for which there is no rule.
        dims: axes along which it works, if it is told.
        gradients: contractions of its kernels in the backward pass of a training step: the part of
            the step, the kernel, the sizes that are multiplied, and groups of a convolution.
    """

    function: str
    operands: tuple[Shape, ...]
    out: Shape
    products: tuple[tuple[str, Shape], ...] = ()
    kind: str = ""
    detail: str = ""
    torch_type: str = ""
    used: bool = True
    unknown: tuple[str, ...] = ()
    dims: tuple[int, ...] = ()
    gradients: tuple[tuple[Pass, str, Shape, int], ...] = ()
    work = Work.CALL

    @property
    def contracts(self) -> bool:  # type: ignore[override]
        return bool(self.products or self.gradients)

    @property
    def module(self) -> bool:  # type: ignore[override]
        return bool(self.torch_type)

    @property
    def type(self) -> str:
        return self.torch_type

    @property
    def words(self) -> str:
        return f"{self.function.removeprefix('aten::')} {self.detail}".rstrip()

    @property
    def shape(self) -> Shape:
        return self.out

    @property
    def macs(self) -> Size:
        if not self.products:
            return ZERO
        total, *others = [product(sizes) for _, sizes in self.products]
        for other in others:
            total = total + other
        return total

    @property
    def uncounted(self) -> Uncounted:
        if not self.kind:
            return ()
        shapes = [self.out, *self.operands[:1]]
        return ((self.kind, product(max(shapes, key=lambda shape: product(shape).value))),)
