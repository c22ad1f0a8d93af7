"""Convolutions and pooling: channels-last if the strides of their input suggest that."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.views import Grads
from vitprof.allocation.launches import Kind, Product, convolution_kind
from vitprof.allocation.strides import (
    Ints,
    channels_last,
    is_channels_last,
    is_in_format,
    suggests_channels_last,
)
from vitprof.formulas.op import Shape


def conv(m: Eager, x: Tensor, weight: Tensor, bias: Tensor | None, out: Shape) -> Tensor:
    """Follow `convolution`, which saves its input and its weights.

    On a GPU each tensor that is not in the memory format of the call is copied, and the gradient
    of the bias is a sum (`_convolution`, `convolution_backward` in Convolution.cpp).
    """
    if bias is not None:
        bias = m.to_autocast_dtype(bias)
    weight = m.to_autocast_dtype(weight)
    x = m.to_autocast_dtype(x)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    node = m.node(*inputs)
    m.save(node, x, weight)
    last = suggests_channels_last(*x.layout) or suggests_channels_last(*weight.layout)
    sizes = [one.sizes for one in inputs]

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        dtype = grads[0].dtype
        made = []
        for place, own in enumerate(sizes):
            needed = node.needs_grad(place)
            made.append(
                m.new(own, dtype, _strides(own, last=last and place < 2)) if needed else None
            )
        m.may_take_workspace(saved[0], grads[0], saved[1])
        read = (grads[0], saved[1], *[saved[0]] * node.needs_grad(1))
        copies = _copies(m, read, last=last)
        results = [one for one in made if one is not None]
        wanted = node.needs_grad(0) + node.needs_grad(1)
        products = (_contracted(saved[0], saved[1], grads[0]),) * wanted
        read = (grads[0], *[saved[1]] * node.needs_grad(0), *[saved[0]] * node.needs_grad(1))
        m.launch(_kind(saved[0], saved[1], grads[0]), read, results, products=products, own=copies)
        m.free(*results, *copies)
        if len(made) == 3 and made[2] is not None:
            m.reduction(grads[0], [dim for dim in range(len(grads[0].shape)) if dim != 1])
            m.free(made[2])
        return made

    m.contract(node, x, weight)
    y = m.new(out, x.dtype, _strides(out, last=last))
    m.may_take_workspace(x, y, weight)
    copies = _copies(m, (x, weight), last=last)
    products = (_contracted(x, weight, y),)
    m.launch(_kind(x, weight, y), inputs, (y,), products=products, own=copies)
    m.free(y, *copies)
    return m.made(y, node, inputs, back)


def _kind(x: Tensor, weight: Tensor, y: Tensor) -> Kind:
    product = _contracted(x, weight, y)
    return convolution_kind(weight.shape[1], product.batch, product, prod(x.shape))


def _contracted(x: Tensor, weight: Tensor, y: Tensor) -> Product:
    """Return a convolution as a product: positions by the kernel by channels, for each group."""
    channels, *kernel = weight.shape
    groups = x.shape[1] // weight.shape[1]
    return Product(groups, y.shape[0] * prod(y.shape[2:]), prod(kernel), channels // groups)


def _copies(m: Eager, read: Sequence[Tensor], *, last: bool) -> list[Tensor]:
    """Allocate copies of tensors that are not in the memory format of a call on a GPU."""
    if m.platform is None:
        return []
    return [m.new(x.sizes, x.dtype) for x in read if not is_in_format(*x.layout, last=last)]


def _strides(sizes: Shape, *, last: bool) -> Ints | None:
    return channels_last(tuple([size.value for size in sizes])) if last else None


def avg_pool(m: Eager, x: Tensor, out: Shape) -> Tensor:
    """Follow `avg_pool2d`, or an adaptive one to several places; each saves its input."""
    node = m.node(x)
    m.save(node, x)
    last, sizes = suggests_channels_last(*x.layout), x.sizes
    y = m.new(out, x.dtype, _strides(out, last=last))
    m.launch(Kind.REDUCTION, (x,), (y,))

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        (g,) = grads
        in_format = is_channels_last(*g.layout) if last else g.is_contiguous
        copies = [m.new(g.sizes, g.dtype)] if m.own_memory and not in_format else []
        of_x = m.new(sizes, g.dtype, _strides(sizes, last=last))
        m.launch(Kind.REDUCTION, (g, *saved), (of_x,))
        m.free(of_x, *copies)
        return [of_x]

    return m.made(y, node, (x,), back)
