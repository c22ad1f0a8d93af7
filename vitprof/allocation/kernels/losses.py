"""Losses of a training step."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.elementwise import multiply, square, subtract
from vitprof.allocation.kernels.norms import log_softmax
from vitprof.allocation.kernels.reductions import mean, repeated
from vitprof.allocation.kernels.views import Grads
from vitprof.allocation.launches import Kind


def cross_entropy(m: Eager, logits: Tensor) -> Tensor:
    """Follow the log-softmax, in fp32 by autocast, and its mean over the labels."""
    logits = m.cast(logits, m.weight_dtype)
    x = log_softmax(m, logits)
    node = m.node(x)
    m.save(node, x)
    loss, weight = m.new((), x.dtype), m.new((), x.dtype)
    labels = m.labels
    m.launch(Kind.PLACES, (x, labels), (loss, weight))
    m.free(logits, loss, weight)
    m.save(node, weight)
    sizes = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        made = m.new(sizes, grads[0].dtype)
        m.launch(Kind.PLACES, (*grads, labels, saved[1]), (made,))
        return [made]

    return m.made(loss, node, (x,), back)


def squared_error(m: Eager, x: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Follow `((x - target).square().mean(-1) * mask).sum() / mask.sum().clamp(min=1)`."""
    difference = subtract(m, x, target)
    squares = square(m, difference)
    m.free(difference)
    error = mean(m, squares, x.sizes[:-1], (len(x.sizes) - 1,))
    m.free(squares)
    masked = multiply(m, error, mask)
    total = _total(m, masked)
    m.free(masked)
    dropped = _total(m, mask)
    at_least_one = m.elementwise(dropped)
    m.free(dropped)
    node = m.node(total)
    m.save(node, at_least_one)
    loss = m.elementwise(total, at_least_one)
    m.free(error, at_least_one)
    return m.made(loss, node, (total,), lambda g, kept: [m.elementwise(g[0], kept[0])])


def _total(m: Eager, x: Tensor) -> Tensor:
    """Follow `x.sum()`, in fp32 by autocast on a GPU."""
    x = m.to_float32(x)
    node = m.node(x)
    sizes = x.sizes
    dims = tuple(range(len(sizes)))
    total = m.new((), x.dtype)
    m.launch(Kind.REDUCTION, (x,), (total,))
    m.reduction(x, dims)
    m.free(total)
    return m.made(total, node, (x,), lambda g, kept: [repeated(m, g[0], sizes, dims)])
