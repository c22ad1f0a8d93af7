"""Sorting, masks, and numbers picked by their places."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.views import Grads
from vitprof.allocation.timeline import BYTES
from vitprof.formulas.op import Shape


def argsort(m: Eager, x: Tensor) -> Tensor:
    """`sort` also makes the sorted numbers, which nobody reads."""
    values = m.like(x)
    places = m.like(x, "int64")
    m.free(x, values, places, *m.buffers(BYTES["int64"] * x.shape[-1]))
    return places


def ge(m: Eager, x: Tensor) -> Tensor:
    """A comparison with a number."""
    return m.compared(x)


def gather(m: Eager, x: Tensor, index: Tensor) -> Tensor:
    """Keeps x and the places; its gradient is scattered into zeros."""
    node = m.node(x)
    m.save(node, index, x)
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [scattered(m, own, grads[0].dtype)]

    return m.made(m.new(index.sizes, x.dtype), node, (x, index), back)


def index(m: Eager, x: Tensor, places: Tensor, out: Shape) -> Tensor:
    """`x[places]` keeps the places; its gradient is added up into zeros."""
    node = m.node(x)
    m.save(node, places)
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [scattered(m, own, grads[0].dtype)]

    return m.made(m.new(out, x.dtype), node, (x, places), back)


def scattered(m: Eager, sizes: Shape, dtype: str) -> Tensor:
    """Zeros with some numbers put in: in place, but for fake tensors."""
    zeros = m.new(sizes, dtype)
    if m.departs.scatters:
        return zeros
    made = m.new(sizes, dtype)
    m.free(zeros)
    return made
