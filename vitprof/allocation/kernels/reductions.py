"""Sums, means and maxima over axes, and functions that are composed of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.elementwise import clamp, divide
from vitprof.allocation.kernels.views import Grads, expanded
from vitprof.allocation.launches import Kind
from vitprof.formulas.op import Shape
from vitprof.values.size import ONE


def total(m: Eager, x: Tensor, out: Shape, dims: Sequence[int]) -> Tensor:
    """Follow `sum`, in fp32 by autocast on a GPU; its gradient is expanded, without memory."""
    dtype = m.widened(x)
    if dtype == x.dtype:
        x = m.to_float32(x)
        dtype = x.dtype
    node = m.node(x)
    sizes = x.sizes
    y = m.summed(x, out, dims, dtype)
    return m.made(y, node, (x,), lambda g, kept: [repeated(m, g[0], sizes, dims)])


def mean(m: Eager, x: Tensor, out: Shape, dims: Sequence[int]) -> Tensor:
    """Follow `mean`; its gradient is expanded and divided."""
    node = m.node(x)
    sizes = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [m.with_scalar(repeated(m, grads[0], sizes, dims))]

    y = averaged(m, x, out, x.dtype)
    m.launch(Kind.REDUCTION, (x,), (y,))
    m.reduction(x, dims, kind="mean")
    m.free(y)
    return m.made(y, node, (x,), back)


def cumulative_sum(m: Eager, x: Tensor, dim: int) -> Tensor:
    """Follow `cumsum`, whose results are contiguous; its gradient is summed from the other end."""
    node = m.node(x)
    alone = x.shape[dim] == 1 or prod(x.shape) == 1

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        (g,) = grads
        if alone:
            return [g]
        flipped = m.copied(g, g.dtype)
        sums = _summed_along(m, flipped)
        made = m.copied(sums, sums.dtype)
        m.free(flipped, sums, made)
        return [made]

    return m.made(_summed_along(m, x), node, (x,), back)


def _summed_along(m: Eager, x: Tensor) -> Tensor:
    y = m.new(x.sizes, x.dtype)
    m.launch(Kind.REDUCTION, (x,), (y,))
    return y


def averaged(m: Eager, x: Tensor, out: Shape, dtype: str) -> Tensor:
    """Allocate a mean: a sum that is divided in place."""
    y = m.new(out, dtype)
    if not m.own_memory:
        return y
    if dtype in ("bf16", "fp16"):  # a sum in fp32, of a copy in fp32
        total = m.new(out, "fp32")
        m.free(m.like(x, "fp32"), total)
        m.in_place_with_scalar(total)
        m.free(y)
    else:
        m.in_place_with_scalar(y)
    return y


def repeated(m: Eager, x: Tensor, sizes: Shape, dims: Sequence[int]) -> Tensor:
    """Return the result of a reduction expanded along the reduced axes, without a gradient."""
    if len(x.sizes) < len(sizes):
        axes, strides = [*x.sizes], [*x.strides]
        for dim in dims:
            step = axes[dim].value * strides[dim] if dim < len(axes) else 1
            axes.insert(dim, ONE)
            strides.insert(dim, step)
        x = m.view(x, tuple(axes), tuple(strides))
    return expanded(m, x, sizes)


def maximum(m: Eager, x: Tensor, out: Shape) -> Tensor:
    """Follow `amax` of a tensor that requires no gradient."""
    y = m.new(out, x.dtype)
    m.launch(Kind.REDUCTION, (x,), (y,))
    reduced = [dim for dim, size in enumerate(out) if size.value != x.shape[dim]]
    if len(out) == len(x.shape):
        m.reduction(x, reduced, kind="extreme")
    m.free(x, y)
    return y


def greatest_column_sum(m: Eager, x: Tensor, out: Shape) -> Tensor:
    """Follow the greatest column sum of each matrix, which requires no gradient."""
    sums = total(m, x, (*x.sizes[:-2], ONE, x.sizes[-1]), (len(x.sizes) - 2,))
    return maximum(m, sums, out)


def length(m: Eager, x: Tensor) -> Tensor:
    """Follow `vector_norm` along the last axis, which saves x and its output.

    Autocast on a GPU computes it in fp32.
    """
    dtype = "fp32" if m.autocast and m.on_gpu else x.dtype
    node = m.node(x)
    m.save(node, x)  # in the order of the names
    y = m.new((*x.sizes[:-1], ONE), dtype)
    m.launch(Kind.REDUCTION, (x,), (y,))
    m.reduction(x, (len(x.sizes) - 1,), result=dtype, kind="norm")
    m.free(y)
    m.save(node, y)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        own, norm = saved
        direction = m.elementwise(own, norm, sizes=own.sizes)
        zero = m.compared(norm)
        m.launch(Kind.ELEMENTWISE, (direction, zero), (direction,))
        made = m.elementwise(grads[0], direction, sizes=own.sizes)
        m.free(direction, zero)
        return [made]

    return m.made(y, node, (x,), back)


def l2_norm(m: Eager, x: Tensor) -> Tensor:
    """Follow x over its norm along the last axis, clamped to a small number from below."""
    norm = length(m, x)
    clamped = clamp(m, norm)
    m.free(norm)
    y = divide(m, x, clamped)
    m.free(clamped)
    return y
