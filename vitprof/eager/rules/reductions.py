"""Sums, means and maxima over axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.eager.tensor import Tensor
from vitprof.formulas.op import Inline, Op
from vitprof.formulas.size import product

if TYPE_CHECKING:
    from vitprof.eager.run import Eager


def maximum(run: Eager, op: Op, x: Tensor) -> Tensor:
    """A maximum that takes no gradient."""
    elements = product(op.shape)
    return Tensor(elements, x.dtype, run.new(elements, x.dtype))


def greatest_column_sum(run: Eager, op: Op, x: Tensor) -> Tensor:
    """The greatest sum of a column of each matrix, which takes no gradient."""
    x = run.exact(x)
    *lead, _, columns = op.axes if isinstance(op, Inline) else op.shape
    sums = run.new(product((*lead, columns)), x.dtype)
    greatest = maximum(run, op, x)
    del sums
    return greatest


def segment_mean(run: Eager, op: Op, x: Tensor) -> Tensor:
    """Adaptive average pooling along the tokens keeps its input; of one segment it is a mean."""
    elements = product(op.shape)
    kept = run.keep(*() if op.shape[1].value == 1 else (x.storage,))
    return run.made(run.new(elements, x.dtype), elements, x.dtype, (x,), kept=kept)


def sum_(run: Eager, op: Op, x: Tensor) -> Tensor:
    """A sum over an axis keeps nothing; its gradient is repeated, which takes no memory."""
    x, elements = run.exact(x), product(op.shape)
    return run.passed(run.new(elements, x.dtype), elements, x)


def mean(run: Eager, op: Op, x: Tensor) -> Tensor:
    """A mean over some axes, or of all elements, keeps nothing."""
    elements = product(op.shape)
    return run.made(run.new(elements, x.dtype), elements, x.dtype, (x,))
