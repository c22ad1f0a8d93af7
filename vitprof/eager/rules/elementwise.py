"""Work on each element by itself: activations, sums, products, quotients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitprof.eager.account import Storage
from vitprof.eager.tape import Gradient, Kept
from vitprof.eager.tensor import Tensor, widest
from vitprof.formulas.op import Op
from vitprof.formulas.size import product

if TYPE_CHECKING:
    from vitprof.eager.run import Eager


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
    """x y keeps each that the gradient of the other is made with.

    The gradient of a smaller y is a sum of g x.
    """
    of_x, of_by = run.gradient(x), run.gradient(by)
    elements, dtype, mixed = x.elements, widest(x, by), x.dtype != widest(x, by)
    smaller, lowered = by.elements, by.dtype != dtype
    alike = smaller.value == elements.value and not lowered

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        wide = run.new(elements, dtype) if mixed else of_x()
        terms = run.new(elements, dtype)
        del kept  # gradients are cast and added up when the product's function is over
        gradient = of_x() if mixed else wide
        del wide
        if lowered:
            added = run.new(smaller, dtype)
            del terms
            total = of_by()
            del added
        else:
            total = terms if alike else of_by()
        return gradient, total

    read = [one.storage for one, other in ((x, by), (by, x)) if other.node is not None]
    kept = run.keep(*read)
    return run.made(run.new(elements, dtype), elements, dtype, (x, by), backward, kept)


def square(run: Eager, op: Op, x: Tensor) -> Tensor:
    """x^2 keeps x; its gradient is g times 2 x^1."""
    x = run.exact(x)
    gradient = run.gradient(x)

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        factors = [gradient(), gradient()]  # x^1, and twice that
        made = gradient()
        del factors
        return (made,)

    kept = run.keep(*() if x.node is None else (x.storage,))
    return run.made(run.new(x.elements, x.dtype), x.elements, x.dtype, (x,), backward, kept)


def exp(run: Eager, op: Op, x: Tensor) -> Tensor:
    """Keeps its output; autocast on a card computes it in fp32."""
    return keeps_output(run, op, run.exact(x))


def subtract_from_identity(run: Eager, op: Op, x: Tensor) -> Tensor:
    """A multiple of the identity matrix, less x; the gradient is negated."""
    *_, rows, columns = op.shape
    identity = run.new(rows * columns, x.dtype)
    multiple = run.new(rows * columns, x.dtype)
    del identity
    y = run.new(x.elements, x.dtype)
    del multiple
    return run.made(y, x.elements, x.dtype, (x,))
