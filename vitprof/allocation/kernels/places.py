"""Sorting, masks, and elements gathered by their indices."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.views import Grads, filled
from vitprof.allocation.launches import Kind
from vitprof.allocation.timeline import BYTES
from vitprof.formulas.op import Shape


def argsort(m: Eager, x: Tensor) -> Tensor:
    """Follow `sort`, which also allocates the sorted values; they are not used."""
    values = m.like(x)
    places = m.like(x, "int64")
    m.launch(Kind.PLACES, (x,), (values, places))
    m.free(x, values, places, *m.buffers(BYTES["int64"] * x.shape[-1]))
    return places


def ge(m: Eager, x: Tensor) -> Tensor:
    """Follow a comparison with a scalar."""
    return m.compared(x)


def topk(m: Eager, x: Tensor, out: Shape) -> Tensor:
    """Follow `topk` of a tensor that requires no gradient, whose indices are not used.

    On a GPU, rows of many hundreds of elements may take buffers too, which are not included
    (`should_use_multiblock` in TensorTopK.cu).
    """
    values, places = m.new(out, x.dtype), m.new(out, "int64")
    m.launch(Kind.PLACES, (x,), (values, places))
    m.free(x, values, places)
    return values


def mask_below(m: Eager, x: Tensor, threshold: Tensor) -> Tensor:
    """Follow `masked_fill` where x is below a threshold; the gradient is masked too."""
    mask = m.elementwise(x, threshold, sizes=x.sizes, dtype="bool")
    node = m.node(x)
    m.save(node, mask)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [_masked(m, grads[0], saved[0])]

    y = _masked(m, x, mask)
    m.free(mask)
    return m.made(y, node, (x,), back)


def _masked(m: Eager, x: Tensor, mask: Tensor) -> Tensor:
    y = m.new(x.sizes, x.dtype)
    m.launch(Kind.ELEMENTWISE, (x, mask), (y,))
    return y


def gather(m: Eager, x: Tensor, index: Tensor) -> Tensor:
    """Follow `gather`, which saves x and the indices; its gradient is scattered into zeros."""
    node = m.node(x)
    m.save(node, index, x)
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [scattered(m, own, grads[0], index)]

    return m.made(_picked(m, x, index, index.sizes), node, (x, index), back)


def index(m: Eager, x: Tensor, places: Tensor, out: Shape) -> Tensor:
    """Follow `x[places]`, which saves the indices; its gradient is accumulated into zeros."""
    node = m.node(x)
    m.save(node, places)
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [scattered(m, own, grads[0], places)]

    return m.made(_picked(m, x, places, out), node, (x, places), back)


def _picked(m: Eager, x: Tensor, places: Tensor, sizes: Shape) -> Tensor:
    """Allocate the elements at given places, which alone are read."""
    made = m.new(sizes, x.dtype)
    m.launch(Kind.PLACES, (places, made), (made,))
    return made


def scattered(m: Eager, sizes: Shape, values: Tensor, places: Tensor) -> Tensor:
    """Allocate zeros with values scattered in: in place, except for fake tensors."""
    zeros = filled(m, sizes, values.dtype)
    if m.departs.scatters:
        m.launch(Kind.PLACES, (places, values, values), (values,))
        return zeros
    made = m.new(sizes, values.dtype)
    m.free(zeros)
    return made
