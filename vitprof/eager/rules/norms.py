"""Layer norms, batch norms, and division by the length of a vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitprof.eager.account import Storage
from vitprof.eager.rules.elementwise import add, divide, multiply, square
from vitprof.eager.rules.reductions import mean
from vitprof.eager.tape import Gradient, Kept
from vitprof.eager.tensor import Tensor, widest
from vitprof.errors import SpecError
from vitprof.formulas.op import (
    Affine,
    BatchNorm,
    ChannelWise,
    Inline,
    LayerNorm,
    LayerScale,
    Op,
    RMSNorm,
    TokenBatchNorm,
)
from vitprof.formulas.size import ONE, ZERO, Size, product

if TYPE_CHECKING:
    from vitprof.eager.run import Eager


def layer_norm(run: Eager, op: LayerNorm, x: Tensor) -> Tensor:
    """Keeps its input, and mean and deviation of each row; autocast on a card takes fp32."""
    x = run.exact(x)
    return _norm(run, op, x, statistics=product(op.lead))


def batch_norm(run: Eager, op: BatchNorm | TokenBatchNorm, x: Tensor) -> Tensor:
    """Keeps its input, and in training mean and deviation of each channel.

    Raises:
        SpecError: there is one number a channel to train with, which has no deviation.
    """
    if run.training and product(op.shape).value == op.channels.value:
        raise SpecError(
            f"{run.account.at} has a single value of each channel to normalise, which training "
            "cannot do; give a batch of 2 or more"
        )
    return _norm(run, op, x, statistics=op.channels if run.training else None)


def rms_norm(run: Eager, op: RMSNorm, x: Tensor) -> Tensor:
    """On a card one kernel, which keeps its input and the root of each row's mean square.

    On a CPU what it is made of, in fp32: x times that root's reciprocal, times the gain.
    """
    if run.on_card:
        return _norm(run, op, run.exact(x), statistics=product(op.lead), moments=1)
    dtype, rows = x.dtype, product(op.lead)
    weight = run.weight(op.weights, lowered=False)
    x = run.cast(x, "fp32")
    means = mean(run, Inline("", "mean", op.shape, out=op.lead), square(run, op, x))
    storage = run.new(rows, "fp32")

    def of_means(g: Storage, kept: Kept) -> Sequence[Gradient]:
        cubes = run.new(rows, "fp32")
        del kept
        scaled = run.new(rows, "fp32")
        made = run.new(rows, "fp32")
        del cubes, scaled
        return (made,)

    kept = run.keep(*() if means.node is None else (storage,))
    roots = run.made(storage, rows, "fp32", (means,), of_means, kept)
    del means, storage, kept
    x = multiply(run, op, x, roots)
    del roots
    return run.cast(multiply(run, op, x, weight), dtype)


def affine(run: Eager, op: Affine, x: Tensor) -> Tensor:
    """A product with the gain, and a sum with the bias."""
    weight = run.weight(op.weights, lowered=False)
    bias = run.weight(op.biases, lowered=False)
    x = multiply(run, op, x, weight)
    return add(run, op, x, run.expanded(bias, op.shape))


def layer_scale(run: Eager, op: LayerScale, x: Tensor) -> Tensor:
    """A product with the gain."""
    return multiply(run, op, x, run.weight(op.weights, lowered=False))


def _norm(
    run: Eager,
    op: ChannelWise | BatchNorm,
    x: Tensor,
    statistics: Size | None,
    moments: int = 2,
) -> Tensor:
    own = [op.weights] if op.biases is ZERO else [op.weights, op.biases]
    inputs = (x, *(run.weight(some, lowered=False) for some in own))
    y = run.new(x.elements, x.dtype)
    dtype = "fp32" if run.on_card else x.dtype
    found = [] if statistics is None else [run.new(statistics, dtype) for _ in range(moments)]
    return run.made(y, x.elements, x.dtype, inputs, kept=run.keep(x.storage, *found))


def l2_norm(run: Eager, op: Op, x: Tensor) -> Tensor:
    """x over its norm along the last axis, which is not less than a small number.

    Autocast on a card makes the norm in fp32, without a copy of x.
    """
    elements, rows = x.elements, product(op.shape[:-1])
    dtype = widest(x, Tensor(ONE, run.weight_dtype, x.storage)) if run.on_card else x.dtype
    of_x, mixed = run.gradient(x), x.dtype != dtype

    def of_norm(g: Storage, kept: Kept) -> Sequence[Gradient]:
        direction = run.new(elements, dtype)
        zero = run.new(rows, "bool")
        wide = run.new(elements, dtype)
        del direction, zero
        return (of_x() if mixed else wide,)

    def of_clamped(g: Storage, kept: Kept) -> Sequence[Gradient]:
        nothing = run.new(ONE, dtype)
        great = run.new(rows, "bool")
        gradient = run.new(rows, dtype)
        del nothing, great
        return (gradient,)

    storage = run.new(rows, dtype)
    norm = run.made(storage, rows, dtype, (x,), of_norm, run.keep(x.storage, storage))
    kept = run.keep(storage)
    clamped = run.made(run.new(rows, dtype), rows, dtype, (norm,), of_clamped, kept)
    del norm, storage, kept
    return divide(run, op, x, clamped)
