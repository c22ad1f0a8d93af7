"""What each op allocates and keeps, one rule a kind of op.

A rule is the op's forward pass: it allocates what the op writes, says what is kept for the
backward pass, and hands on which gradients that allocates. The sources are PyTorch's
formulas of the derivatives and the composite functions that the modules call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vitprof.eager.account import Storage
from vitprof.eager.tape import Gradient, Kept
from vitprof.eager.tensor import Tensor, widest
from vitprof.errors import SpecError
from vitprof.formulas.op import (
    BatchNorm,
    Conv,
    Elementwise,
    FusedAttention,
    Inline,
    LayerNorm,
    Linear,
    MatMul,
    Op,
)
from vitprof.formulas.size import ONE, ZERO, Size, product

if TYPE_CHECKING:
    from vitprof.eager.run import Eager

Rule = Callable[..., Tensor]


def rule_of(op: Op, rules: Mapping[str, Rule]) -> Rule:
    """The rule of an op, by its kind, or by its work where that says more.

    Raises:
        SpecError: there is none.
    """
    key = op.work if isinstance(op, Elementwise | Inline) else op.kind
    if key not in rules:
        raise SpecError(
            f"there is no rule for the memory of {op.name}, which does {key}; "
            "give one by vitprof.eager.rules.RULES"
        )
    return rules[key]


def contraction(run: Eager, op: Linear | Conv, x: Tensor) -> Tensor:
    """`x W + b`: keeps x and W, in mixed precision their copies.

    A linear layer does not keep a W that no gradient of x is to be made with.
    """
    bias = [] if op.biases is ZERO else [run.weight(op.biases, lowered=True)]
    weight = run.weight(op.weights, lowered=True)
    x = run.lowered(x)
    of_x, of_weight, *of_bias = map(run.gradient, (x, weight, *bias))
    linear = isinstance(op, Linear)

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        first = [of_x(), of_weight()]
        if linear:
            del kept  # the bias's gradient is summed up after the product's function is over
        return [*first, *(gradient() for gradient in of_bias)]

    read = [x.storage] if linear and x.node is None else [x.storage, weight.storage]
    kept, elements = run.keep(*read), product(op.shape)
    y = run.new(elements, x.dtype)
    return run.made(y, elements, x.dtype, (x, weight, *bias), backward, kept)


def matmul(run: Eager, op: MatMul, left: Tensor, right: Tensor) -> Tensor:
    """A product of two activations: keeps both."""
    left, right = run.lowered(left), run.lowered(right)
    of_left, of_right = run.gradient(left), run.gradient(right)

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        right_first = of_right()
        return of_left(), right_first

    kept, elements = run.keep(left.storage, right.storage), product(op.shape)
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


def layer_norm(run: Eager, op: LayerNorm, x: Tensor) -> Tensor:
    """Keeps its input, and mean and deviation of each row; autocast on a card takes fp32."""
    x = run.exact(x)
    return _norm(run, op, x, statistics=product(op.lead))


def batch_norm(run: Eager, op: BatchNorm, x: Tensor) -> Tensor:
    """Keeps its input, and in training mean and deviation of each channel."""
    return _norm(run, op, x, statistics=op.channels if run.training else None)


def _norm(run: Eager, op: LayerNorm | BatchNorm, x: Tensor, statistics: Size | None) -> Tensor:
    inputs = (x, run.weight(op.weights, lowered=False), run.weight(op.biases, lowered=False))
    y = run.new(x.elements, x.dtype)
    dtype = "fp32" if run.on_card else x.dtype
    found = [] if statistics is None else [run.new(statistics, dtype) for _ in range(2)]
    return run.made(y, x.elements, x.dtype, inputs, kept=run.keep(x.storage, *found))


def softmax(run: Eager, op: Op, x: Tensor) -> Tensor:
    """Keeps its output; autocast on a card computes it in fp32."""
    return keeps_output(run, op, run.exact(x))


def keeps_output(run: Eager, op: Op, x: Tensor) -> Tensor:
    """Softmax, ReLU: the derivative follows from the output."""
    y = run.new(x.elements, x.dtype)
    return run.made(y, x.elements, x.dtype, (x,), kept=run.keep(y))


def keeps_input(run: Eager, op: Op, x: Tensor) -> Tensor:
    """GELU, ELU: the derivative follows from the input."""
    kept = run.keep(x.storage)
    return run.made(run.new(x.elements, x.dtype), x.elements, x.dtype, (x,), kept=kept)


def scale(run: Eager, op: Op, x: Tensor) -> Tensor:
    """Times a constant: keeps nothing."""
    return run.made(run.new(x.elements, x.dtype), x.elements, x.dtype, (x,))


def add(run: Eager, op: Op, *terms: Tensor) -> Tensor:
    """A sum keeps nothing; its gradient is that of each term, in the term's dtype."""
    elements, dtype = product(op.shape), widest(*terms)
    gradients = [None if x.dtype == dtype else run.gradient(x) for x in terms]

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        return [g if gradient is None else gradient() for gradient in gradients]

    return run.made(run.new(elements, dtype), elements, dtype, terms, backward)


def subtract(run: Eager, op: Op, x: Tensor, y: Tensor) -> Tensor:
    """x - y keeps nothing; its gradient is that of x, and negated that of y."""
    negated = run.gradient(y)
    difference = run.new(x.elements, x.dtype)

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        return g, negated()

    return run.made(difference, x.elements, x.dtype, (x, y), backward)


def divide(run: Eager, op: Op, x: Tensor, by: Tensor) -> Tensor:
    """x / y keeps both; the gradient of y is the sum of -g (x / y) / y."""
    of_x, of_by = run.gradient(x), run.gradient(by)

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        quotients = [of_x(), of_x()]
        negated = of_x()
        terms = of_x()
        del quotients, negated
        gradient = of_x()
        total = of_by()
        del terms
        return gradient, total

    kept = run.keep(x.storage, by.storage)
    y = run.new(x.elements, x.dtype)
    return run.made(y, x.elements, x.dtype, (x, by), backward, kept)


def sum_(run: Eager, op: Op, x: Tensor) -> Tensor:
    """A sum over an axis keeps nothing; its gradient is repeated, which takes no memory."""
    x, elements = run.exact(x), product(op.shape)
    return run.passed(run.new(elements, x.dtype), elements, x)


def token_mean(run: Eager, op: Op, x: Tensor) -> Tensor:
    """The mean over the tokens keeps nothing."""
    elements = product(op.shape)
    return run.made(run.new(elements, x.dtype), elements, x.dtype, (x,))


def mean(run: Eager, op: Op, x: Tensor) -> Tensor:
    """The mean of all elements."""
    return run.made(run.new(ONE, x.dtype), ONE, x.dtype, (x,))


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


RULES: Mapping[str, Rule] = {
    "linear": contraction,
    "conv": contraction,
    "matmul": matmul,
    "fused_attention": fused_attention,
    "layer_norm": layer_norm,
    "batch_norm": batch_norm,
    "softmax": softmax,
    "relu": keeps_output,
    "gelu": keeps_input,
    "elu": keeps_input,
    "average pool": keeps_input,
    "scale": scale,
    "add": add,
    "subtract": subtract,
    "divide": divide,
    "sum": sum_,
    "mean": mean,
    "token mean": token_mean,
    "cross entropy": cross_entropy,
    "squared error": squared_error,
}
