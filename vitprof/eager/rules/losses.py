"""The losses of a training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitprof.eager.account import Storage
from vitprof.eager.rules.elementwise import add, keeps_output
from vitprof.eager.tape import Gradient, Kept
from vitprof.eager.tensor import Tensor
from vitprof.formulas.op import Op
from vitprof.formulas.size import ONE, Size

if TYPE_CHECKING:
    from vitprof.eager.run import Eager


def cross_entropy(run: Eager, op: Op, x: Tensor) -> Tensor:
    """The logarithm of a softmax, and its mean over the labels; autocast computes in fp32."""
    logits = run.cast(x, run.weight_dtype)
    y = keeps_output(run, op, logits)
    loss, weight = run.new(ONE, y.dtype), run.new(ONE, y.dtype)
    return run.made(loss, ONE, y.dtype, (y,), kept=run.keep(y.storage, weight))


def squared_error(run: Eager, op: Op, prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """The mean over each patch's pixels, and of that the mean over the dropped patches."""
    target = run.copy(image)
    error = _mean_square(run, add(run, op, prediction, target), mask.elements)
    total = run.passed(run.new(ONE, error.dtype), ONE, _masked(run, error, mask))
    dropped = run.new(ONE, mask.dtype)
    at_least_one = run.new(ONE, mask.dtype)
    del dropped
    loss = run.new(ONE, total.dtype)
    return run.made(loss, ONE, total.dtype, (total,), kept=run.keep(at_least_one))


def _mean_square(run: Eager, difference: Tensor, rows: Size) -> Tensor:
    gradient = run.gradient(difference)

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        factors = [gradient(), gradient()]
        made = gradient()
        del factors
        return (made,)

    kept = run.keep(difference.storage)
    elements, dtype = difference.elements, difference.dtype
    square = run.made(run.new(elements, dtype), elements, dtype, (difference,), backward, kept)
    del difference, kept  # without a backward pass nothing needs it any more
    return run.made(run.new(rows, dtype), rows, dtype, (square,))


def _masked(run: Eager, error: Tensor, mask: Tensor) -> Tensor:
    kept = run.keep(mask.storage)
    y = run.new(error.elements, error.dtype)
    return run.made(y, error.elements, error.dtype, (error,), kept=kept)
