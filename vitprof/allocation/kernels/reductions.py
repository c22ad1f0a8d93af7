"""Sums, means and maxima over axes, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.elementwise import at_least, divide
from vitprof.allocation.kernels.views import Grads, expanded
from vitprof.allocation.strides import Ints, suggests_channels_last
from vitprof.formulas.op import Shape
from vitprof.values.size import ONE, Size


def total(m: Eager, x: Tensor, out: Shape, dims: Sequence[int]) -> Tensor:
    """`sum`, in fp32 by autocast on a GPU; its gradient is repeated, which takes no memory."""
    x = m.exact(x)
    node = m.node(x)
    sizes = x.sizes
    y = m.summed(x, out, dims)
    return m.made(y, node, (x,), lambda g, kept: [repeated(m, g[0], sizes, dims)])


def mean(m: Eager, x: Tensor, out: Shape, dims: Sequence[int]) -> Tensor:
    """`mean`; its gradient is repeated and divided."""
    node = m.node(x)
    sizes = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [m.with_scalar(repeated(m, grads[0], sizes, dims))]

    return m.made(averaged(m, x, out, x.dtype), node, (x,), back)


def averaged(m: Eager, x: Tensor, out: Shape, dtype: str) -> Tensor:
    """The memory of a mean: a sum that is divided in place."""
    y = m.new(out, dtype)
    if m.own_memory and dtype in ("bf16", "fp16"):  # a sum in fp32, of a copy in fp32
        exact = m.new(out, "fp32")
        m.free(m.like(x, "fp32"), exact)
        m.by_number(exact)
        m.free(y)
    else:
        m.by_number(y)
    return y


def repeated(m: Eager, x: Tensor, sizes: Shape, dims: Sequence[int]) -> Tensor:
    """What a reduction made, repeated along the axes that it reduced, without a gradient."""
    if len(x.sizes) < len(sizes):
        axes, strides = [*x.sizes], [*x.strides]
        for dim in dims:
            step = axes[dim].value * strides[dim] if dim < len(axes) else 1
            axes.insert(dim, ONE)
            strides.insert(dim, step)
        x = m.see(x, tuple(axes), tuple(strides))
    return expanded(m, x, sizes)


def maximum(m: Eager, x: Tensor, out: Shape) -> Tensor:
    """`amax` of what takes no gradient."""
    y = m.new(out, x.dtype)
    m.free(x)
    return y


def greatest_column_sum(m: Eager, x: Tensor, out: Shape) -> Tensor:
    """The greatest sum of a column of each matrix, of what takes no gradient."""
    sums = total(m, x, (*x.sizes[:-2], ONE, x.sizes[-1]), (len(x.sizes) - 2,))
    return maximum(m, sums, out)


def length(m: Eager, x: Tensor) -> Tensor:
    """`vector_norm` along the last axis keeps x and itself; autocast on a GPU makes it in fp32."""
    dtype = "fp32" if m.autocast and m.on_gpu else x.dtype
    node = m.node(x)
    m.save(node, x)  # in the order of the names
    y = m.new((*x.sizes[:-1], ONE), dtype)
    m.save(node, y)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        own, norm = saved
        direction = m.elementwise(own, norm, sizes=own.sizes)
        zero = m.compared(norm)
        made = m.elementwise(grads[0], direction, sizes=own.sizes)
        m.free(direction, zero)
        return [made]

    return m.made(y, node, (x,), back)


def l2_norm(m: Eager, x: Tensor) -> Tensor:
    """x over its length along the last axis, which is not less than a small number."""
    norm = length(m, x)
    clamped = at_least(m, norm)
    m.free(norm)
    y = divide(m, x, clamped)
    m.free(clamped)
    return y


def segment_mean(m: Eager, x: Tensor, out: Shape) -> Tensor:
    """`adaptive_avg_pool1d` keeps its input; to a single segment it is a mean."""
    B, C, N = x.sizes
    image = (x.shape[0], x.shape[1], 1, x.shape[2])
    lies = (*x.strides[:2], x.shape[2] * x.strides[2], x.strides[2])
    by_channels = suggests_channels_last(image, lies)
    if out[-1].value == 1:
        y = mean(m, x, out, (2,))
        # By channels it is laid out anew, whose gradient begins with zeros.
        anew = m.see(y, out, y.strides)
        return m.viewed(anew, y, lambda g, kept: [m.new(out, g[0].dtype)]) if by_channels else y
    node = m.node(x)
    m.save(node, x)

    def strides(axis: Size) -> Ints | None:
        return (C.value * axis.value, 1, C.value) if by_channels else None

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [m.new((B, C, N), grads[0].dtype, strides(N))]

    return m.made(m.new(out, x.dtype, strides(out[-1])), node, (x,), back)
