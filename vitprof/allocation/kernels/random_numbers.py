"""Dropout of elements and of samples, in training; in evaluation both return their input."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.elementwise import multiply
from vitprof.allocation.kernels.views import Grads
from vitprof.allocation.launches import Kind
from vitprof.formulas.op import Shape
from vitprof.values.size import ONE


def dropout(m: Eager, x: Tensor) -> Tensor:
    """Follow dropout: `native_dropout` of a GPU saves a mask of one byte per element.

    Dropout.cu makes the mask before the output, and a gradient that is contiguous. A CPU saves a
    factor per element.
    """
    if not m.training:
        return x
    if not m.on_gpu:
        return _times_drawn(m, x, x.sizes)
    node, sizes = m.node(x), x.sizes
    mask = m.like(x, "bool")
    y = m.like(x)
    m.launch(Kind.ELEMENTWISE, (x,), (y, mask))
    m.free(y, mask)
    m.save(node, mask)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        made = m.new(sizes, grads[0].dtype)
        m.launch(Kind.ELEMENTWISE, (*grads, *saved), (made,))
        return [made]

    return m.made(y, node, (x,), back)


def drop_path(m: Eager, x: Tensor) -> Tensor:
    """Follow drop path: a factor per sample is drawn, saved and multiplied with (B, N, D)."""
    return _times_drawn(m, x, (x.sizes[0], ONE, ONE)) if m.training else x


def _times_drawn(m: Eager, x: Tensor, sizes: Shape) -> Tensor:
    """Follow a product with factors that `bernoulli_` draws and `div_` divides in place.

    On CPUs of Intel, MKL draws another 4 bytes per element, which are not included
    (`bernoulli_scalar_kernel` in DistributionKernels.cpp).
    """
    factors = m.like(x) if sizes == x.sizes else m.new(sizes, x.dtype)
    m.launch(Kind.ELEMENTWISE, (), (factors,))
    m.in_place_with_scalar(factors)
    y = multiply(m, x, factors)
    m.free(factors)
    return y
