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
from vitprof.eager.tensor import BYTES, Tensor, widest
from vitprof.errors import SpecError
from vitprof.formulas.op import (
    FFT,
    BatchNorm,
    Buffer,
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


def layer_norm(run: Eager, op: LayerNorm, x: Tensor) -> Tensor:
    """Keeps its input, and mean and deviation of each row; autocast on a card takes fp32."""
    x = run.exact(x)
    return _norm(run, op, x, statistics=product(op.lead))


def batch_norm(run: Eager, op: BatchNorm, x: Tensor) -> Tensor:
    """Keeps its input, and in training mean and deviation of each channel."""
    return _norm(run, op, x, statistics=op.channels if run.training else None)


def _norm(run: Eager, op: LayerNorm | BatchNorm, x: Tensor, statistics: Size | None) -> Tensor:
    own = [op.weights] if op.biases is ZERO else [op.weights, op.biases]
    inputs = (x, *(run.weight(some, lowered=False) for some in own))
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
    """x - y keeps nothing; its gradient is that of x, and negated that of y.

    Of a y that is repeated along x it is negated first, then added up.
    """
    of_y, elements, dtype = run.gradient(y), x.elements, widest(x, y)
    repeated = y.node is not None and y.elements.value != elements.value
    of_x = (lambda: None) if x.dtype == dtype else run.gradient(x)
    difference = run.new(elements, dtype)

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        negated = run.new(elements, dtype) if repeated else None
        own = of_x() or g
        total = of_y()
        del negated
        return own, total

    return run.made(difference, elements, dtype, (x, y), backward)


def complex_multiply(run: Eager, op: Op, x: Tensor, weight: Tensor) -> Tensor:
    """Times complex weights, pairs of fp32: keeps both, and conjugates them for the gradients."""
    pairs = run.cast(weight, _wide(weight))
    of_x, of_pairs = run.gradient(x), run.gradient(pairs)
    elements, dtype = x.elements, x.dtype

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        conjugate = run.new(elements, dtype)
        terms = run.new(elements, dtype)
        del conjugate
        of_weight = of_pairs()
        gradient = of_x()
        del of_weight
        total = of_pairs()
        del terms
        return gradient, total

    kept = run.keep(x.storage, pairs.storage)
    return run.made(run.new(elements, dtype), elements, dtype, (x, pairs), backward, kept)


def fft(run: Eager, op: FFT, x: Tensor, like: Tensor | None = None) -> Tensor:
    """Transforms compute in fp32, and return the dtype that they were given."""
    return _TRANSFORMS[op.type](run, op, x, like or x)


def _real_part_of_fft(run: Eager, op: FFT, x: Tensor, like: Tensor) -> Tensor:
    """What goes in is made complex, and so is the gradient of the real part, a view."""
    elements = x.elements
    wide = run.cast(x, _wide(x))
    storage = run.new(elements, "complex64")
    pairs = run.made(storage, elements, "complex64", (wide,), lambda g, kept: (g,))
    y = run.new(elements, "complex64")
    part = run.made(y, elements, wide.dtype, (run.made(y, elements, "complex64", (pairs,)),))
    del wide, storage, pairs, y
    return run.cast(part, like.dtype)


def _half_fft(run: Eager, op: FFT, x: Tensor, like: Tensor) -> Tensor:
    """Keeps its input; the gradient is filled up with zeros to all frequencies first."""
    elements, points = product(op.shape), x.elements
    wide = run.cast(x, _wide(x))

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        filled = run.new(points, "complex64") if points.value > elements.value else None
        gradient = run.new(points, "complex64")
        del filled
        return (gradient,)

    y = run.new(elements, "complex64")
    return run.made(y, elements, "complex64", (wide,), backward, run.keep(wide.storage))


def _inverse_half_fft(run: Eager, op: FFT, x: Tensor, like: Tensor) -> Tensor:
    elements, dtype = product(op.shape), _wide(like)
    return run.cast(run.made(run.new(elements, dtype), elements, dtype, (x,)), like.dtype)


def _wide(x: Tensor) -> str:
    """The dtype that a transform computes in."""
    return "fp32" if BYTES[x.dtype] < BYTES["fp32"] else x.dtype


_TRANSFORMS: Mapping[str, Rule] = {
    "RealPartFFT2": _real_part_of_fft,
    "HalfFFT2": _half_fft,
    "InverseHalfFFT2": _inverse_half_fft,
}


def divide(run: Eager, op: Op, x: Tensor, by: Tensor) -> Tensor:
    """x / y keeps both; the gradient of y is -g (x / y) / y, added up where y is repeated.

    Where y wants no gradient, x is not kept.
    """
    elements, dtype = x.elements, widest(x, by)
    of_x, of_by = run.gradient(x), run.gradient(by)
    mixed, repeated = x.dtype != dtype, by.elements.value != elements.value
    wanted = by.node is not None

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        terms = of_divisor() if wanted else None
        wide = run.new(elements, dtype) if mixed else of_x()
        gradient = of_x() if mixed else wide
        del wide
        total = of_by() if repeated else terms
        del terms
        return gradient, total

    def of_divisor() -> Storage:
        quotients = [run.new(elements, dtype), run.new(elements, dtype)]
        negated = run.new(elements, dtype)
        terms = run.new(elements, dtype)
        del quotients, negated
        return terms

    kept = run.keep(*(x.storage, by.storage) if wanted else (by.storage,))
    return run.made(run.new(elements, dtype), elements, dtype, (x, by), backward, kept)


def multiply(run: Eager, op: Op, x: Tensor, by: Tensor) -> Tensor:
    """x y keeps both; the gradient of a smaller y is a sum of g x."""
    of_x, of_by = run.gradient(x), run.gradient(by)
    elements, dtype, mixed = x.elements, widest(x, by), x.dtype != widest(x, by)
    alike = by.elements.value == elements.value and by.dtype == dtype

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        wide = run.new(elements, dtype) if mixed else of_x()
        terms = run.new(elements, dtype)
        gradient = of_x() if mixed else wide
        del wide
        total = terms if alike else of_by()
        del terms
        return gradient, total

    kept = run.keep(x.storage, by.storage)
    return run.made(run.new(elements, dtype), elements, dtype, (x, by), backward, kept)


def square(run: Eager, op: Op, x: Tensor) -> Tensor:
    """x^2 keeps x; its gradient is g times 2 x^1."""
    x = run.exact(x)
    gradient = run.gradient(x)

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        power = gradient()
        doubled = gradient()
        del power
        made = gradient()
        del doubled
        return (made,)

    kept = run.keep(x.storage)
    return run.made(run.new(x.elements, x.dtype), x.elements, x.dtype, (x,), backward, kept)


def exp(run: Eager, op: Op, x: Tensor) -> Tensor:
    """Keeps its output; autocast on a card computes it in fp32."""
    return keeps_output(run, op, run.exact(x))


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


def subtract_from_identity(run: Eager, op: Op, x: Tensor) -> Tensor:
    """A multiple of the identity matrix, less x; the gradient is negated."""
    *_, rows, columns = op.shape
    identity = run.new(rows * columns, x.dtype)
    multiple = run.new(rows * columns, x.dtype)
    del identity
    y = run.new(x.elements, x.dtype)
    del multiple
    return run.made(y, x.elements, x.dtype, (x,))


def segment_mean(run: Eager, op: Op, x: Tensor) -> Tensor:
    """Adaptive average pooling along the tokens keeps its input; of one segment it is a mean."""
    elements = product(op.shape)
    kept = run.keep(*() if op.shape[1].value == 1 else (x.storage,))
    return run.made(run.new(elements, x.dtype), elements, x.dtype, (x,), kept=kept)


def buffer(run: Eager, op: Buffer) -> Tensor:
    """What the module holds is there before the step."""
    dtype = run.weight_dtype if op.dtype == "float" else op.dtype
    return Tensor(product(op.shape), dtype, run.account.hold(ZERO, "buffers"))


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
    "fft": fft,
    "complex multiply": complex_multiply,
    "sigmoid": keeps_output,
    "divide": divide,
    "multiply": multiply,
    "square": square,
    "exp": exp,
    "maximum": maximum,
    "greatest column sum": greatest_column_sum,
    "subtract from identity": subtract_from_identity,
    "segment mean": segment_mean,
    "l2 norm": l2_norm,
    "buffer": buffer,
    "sum": sum_,
    "mean": mean,
    "token mean": token_mean,
    "cross entropy": cross_entropy,
    "squared error": squared_error,
}
