"""Linear layers, convolutions, products of activations and fused attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitprof.eager.account import Storage
from vitprof.eager.tape import Gradient, Kept
from vitprof.eager.tensor import Tensor
from vitprof.formulas.op import Conv, FusedAttention, Linear, MatMul
from vitprof.formulas.size import ONE, ZERO, product

if TYPE_CHECKING:
    from vitprof.eager.run import Eager


def contraction(run: Eager, op: Linear | Conv, x: Tensor) -> Tensor:
    """`x W + b`: keeps x and W, in mixed precision their copies.

    A linear layer does not keep a W that no gradient of x is to be made with.
    """
    bias = [] if op.biases is ZERO else [run.weight(op.biases, lowered=True)]
    weight = run.weight(op.weights, lowered=True)
    x = run.lowered(x)
    of_x, of_weight, *of_bias = map(run.gradient, (x, weight, *bias))
    linear, product_alone = isinstance(op, Linear), isinstance(op, Linear) and not op.bias

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        if product_alone:  # which begins with the gradient of its right side
            of_right = of_weight()
            return [of_x(), of_right]
        first = [of_x(), of_weight()]
        if linear:
            del kept  # the bias's gradient is summed up after the product's function is over
        return [*first, *(gradient() for gradient in of_bias)]

    read = [x.storage] if linear and x.node is None else [x.storage, weight.storage]
    kept, elements = run.keep(*read), product(op.shape)
    y = run.new(elements, x.dtype)
    return run.made(y, elements, x.dtype, (x, weight, *bias), backward, kept)


def matmul(run: Eager, op: MatMul, left: Tensor, right: Tensor) -> Tensor:
    """A product of two activations: keeps each that the gradient of the other is made with."""
    left, right = run.lowered(left), run.lowered(right)
    of_left, of_right = run.gradient(left), run.gradient(right)

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        right_first = of_right()
        return of_left(), right_first

    read = [x.storage for x, other in ((left, right), (right, left)) if other.node is not None]
    kept, elements = run.keep(*read), product(op.shape)
    y = run.new(elements, left.dtype)
    return run.made(y, elements, left.dtype, (left, right), backward, kept)


def fused_attention(run: Eager, op: FusedAttention, *qkv: Tensor) -> Tensor:
    """The fused kernel keeps its inputs, its output and a log-sum-exp for each query.

    On a card it also keeps the state of random numbers. The kernel for fp32 there
    (efficient) rounds the queries of the log-sum-exp up to 32s, and makes none without
    gradients; that for fewer bits (flash) does neither.
    """
    inputs = [run.lowered(tensor) for tensor in qkv]
    elements, dtype = product(op.shape), inputs[0].dtype
    y = run.new(elements, dtype)
    efficient, flash = run.on_card and dtype == "fp32", run.on_card and dtype != "fp32"
    queries = (op.queries + 31) // 32 * 32 if efficient else op.queries
    beside = [] if efficient and not run.training else [run.new(product(op.lead) * queries, "fp32")]
    beside += [run.new(ONE, "int64") for _ in range(2 * efficient + 3 * flash)]
    kept = run.keep(*(tensor.storage for tensor in inputs), y, *beside)
    return run.made(y, elements, dtype, inputs, kept=kept)
