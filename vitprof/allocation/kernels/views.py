"""Views and copies: the methods of tensors that do no arithmetic.

The gradient of a view is the inverse view of its gradient, which may take a copy; that of a
part is a new tensor with zeros elsewhere; those of several parts are put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitprof.allocation.autograd import Back, Tensor, widest
from vitprof.allocation.eager import Eager, is_in_order
from vitprof.allocation.strides import channels_last, suggests_channels_last
from vitprof.formulas.op import Shape
from vitprof.values.size import ONE, Size

Grads = Sequence[Any]


def reshape(m: Eager, x: Tensor, sizes: Shape) -> Tensor:
    """`at::reshape`: a view where the strides allow it, else a view of a copy."""
    strides = m.reshaped(x, sizes)
    if strides is None:
        x = clone(m, x)
        strides = m.reshaped(x, sizes)
    assert strides is not None
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [reshape_gradient(m, grads[0], own)]

    return m.viewed(m.see(x, sizes, strides), x, back)


def reshape_gradient(m: Eager, grad: Tensor, sizes: Shape) -> Tensor:
    """A gradient on other axes: the same memory, or a copy."""
    strides = m.reshaped(grad, sizes)
    if strides is None:
        grad = m.new(grad.sizes, grad.dtype)
        strides = m.reshaped(grad, sizes)
    assert strides is not None
    return m.see(grad, sizes, strides)


def clone(m: Eager, x: Tensor) -> Tensor:
    """`clone(memory_format=torch.contiguous_format)`."""
    node = m.node(x)
    return m.made(m.new(x.sizes, x.dtype), node, (x,), pass_on)


def make_contiguous(m: Eager, x: Tensor) -> Tensor:
    """`contiguous()`: the tensor itself where its numbers lie in their order."""
    return x if is_in_order(x) else clone(m, x)


def permute(m: Eager, x: Tensor, dims: Sequence[int]) -> Tensor:
    """`permute`, whose gradient is permuted back."""
    inverse = [dims.index(place) for place in range(len(dims))]

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [permuted(m, grads[0], inverse)]

    return m.viewed(permuted(m, x, dims), x, back)


def permuted(m: Eager, x: Tensor, dims: Sequence[int]) -> Tensor:
    """The axes of a tensor in another order, without a gradient."""
    sizes, strides = x.sizes, x.strides
    return m.see(x, tuple([sizes[dim] for dim in dims]), tuple([strides[dim] for dim in dims]))


def transpose(m: Eager, x: Tensor, one: int, other: int) -> Tensor:
    """`transpose`."""
    dims = [*range(len(x.sizes))]
    dims[one], dims[other] = dims[other], dims[one]
    return permute(m, x, dims)


def unsqueeze(m: Eager, x: Tensor, dim: int) -> Tensor:
    """`unsqueeze`."""

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [_squeezed(m, grads[0], dim)]

    return m.viewed(_unsqueezed(m, x, dim), x, back)


def squeeze(m: Eager, x: Tensor, dim: int) -> Tensor:
    """`squeeze` of an axis of length 1."""

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [_unsqueezed(m, grads[0], dim)]

    return m.viewed(_squeezed(m, x, dim), x, back)


def _unsqueezed(m: Eager, x: Tensor, dim: int) -> Tensor:
    step = x.shape[dim] * x.strides[dim] if dim < len(x.shape) else 1
    strides = (*x.strides[:dim], step, *x.strides[dim:])
    return m.see(x, (*x.sizes[:dim], ONE, *x.sizes[dim:]), strides)


def _squeezed(m: Eager, x: Tensor, dim: int) -> Tensor:
    strides = (*x.strides[:dim], *x.strides[dim + 1 :])
    return m.see(x, (*x.sizes[:dim], *x.sizes[dim + 1 :]), strides)


def expand(m: Eager, x: Tensor, sizes: Shape) -> Tensor:
    """`expand`, whose gradient is summed up over what was repeated."""
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [m.sum_to(grads[0], own)]

    return m.viewed(expanded(m, x, sizes), x, back)


def expanded(m: Eager, x: Tensor, sizes: Shape) -> Tensor:
    """A tensor repeated to other sizes, without a gradient."""
    new = len(sizes) - len(x.sizes)
    strides = [0] * new
    for size, length, stride in zip(sizes[new:], x.shape, x.strides, strict=True):
        strides.append(0 if length == 1 and size.value != 1 else stride)
    return m.see(x, sizes, tuple(strides))


def unbind(m: Eager, x: Tensor, dim: int) -> tuple[Tensor, ...]:
    """`unbind`, whose gradients are stacked."""
    sizes = (*x.sizes[:dim], *x.sizes[dim + 1 :])
    strides = (*x.strides[:dim], *x.strides[dim + 1 :])
    parts = [m.see(x, sizes, strides) for _ in range(x.shape[dim])]
    whole, dtype = x.sizes, x.dtype

    def missing() -> Tensor:
        zero = m.new((), dtype)
        return m.see(zero, sizes, (0,) * len(sizes))

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        found = [missing() if grad is None else grad for grad in grads]
        if dim < len(sizes):  # `stack` along an axis that the parts have is a `cat` along it
            along = (*sizes[:dim], Size(len(parts)) * sizes[dim], *sizes[dim + 1 :])
            joined = _put_together(m, found, along)
        else:
            found = [_unsqueezed(m, part, dim) for part in found]
            joined = _put_together(m, found, whole)
        strides = m.reshaped(joined, whole)
        assert strides is not None
        return [m.see(joined, whole, strides)]

    return _parts(m, x, parts, back)


def split(m: Eager, x: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
    """`split`, whose gradients are put together."""
    parts = [m.see(x, sizes, x.strides) for sizes in shapes]
    whole, dtype = x.sizes, x.dtype

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        found = [
            m.new(sizes, dtype) if grad is None else grad
            for sizes, grad in zip(shapes, grads, strict=True)
        ]
        return [_put_together(m, found, whole)]

    return _parts(m, x, parts, back)


def _parts(m: Eager, x: Tensor, parts: Sequence[Tensor], back: Back) -> tuple[Tensor, ...]:
    """Views of one function, which waits for all of their gradients."""
    node = m.node(x)
    for place, part in enumerate(parts):
        part.wanted = x.wanted
        part.node, part.slot = node, place
    if node is not None:
        node.back = back
        node.grads = [None] * len(parts)
    return tuple(parts)


def cat(m: Eager, parts: Sequence[Tensor], sizes: Shape) -> Tensor:
    """`cat`, whose gradient's parts go on as views."""
    dtype = widest(*parts)
    alike = [m.cast(part, dtype) for part in parts]
    node = m.node(*alike)
    shapes = [part.sizes for part in alike]

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [m.see(grads[0], sizes, grads[0].strides) for sizes in shapes]

    return m.made(_put_together(m, alike, sizes), node, alike, back)


def _put_together(m: Eager, parts: Sequence[Tensor], sizes: Shape) -> Tensor:
    """A new tensor of several: channels-last where all of them are (`cat`)."""
    last = all(suggests_channels_last(*part.layout) for part in parts)
    shape = tuple([size.value for size in sizes])
    y = m.new(sizes, parts[0].dtype, channels_last(shape) if last else None)
    m.free(*parts)
    return y


def narrow(m: Eager, x: Tensor, sizes: Shape) -> Tensor:
    """`x[:, a:b]`; all of an axis is the tensor by another name."""
    part = m.see(x, sizes, x.strides)
    if part.shape == x.shape:
        return m.viewed(part, x, pass_on)
    return _part(m, part, x)


def select(m: Eager, x: Tensor, dim: int, sizes: Shape) -> Tensor:
    """`x[:, i]`."""
    return _part(m, m.see(x, sizes, (*x.strides[:dim], *x.strides[dim + 1 :])), x)


def unfold(m: Eager, x: Tensor, dim: int, sizes: Shape) -> Tensor:
    """`unfold` by steps of 1."""
    return _part(m, m.see(x, sizes, (*x.strides, x.strides[dim])), x)


def _part(m: Eager, part: Tensor, x: Tensor) -> Tensor:
    """A view of a part, whose gradient is a new tensor with zeros elsewhere."""
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [m.new(own, grads[0].dtype)]

    return m.viewed(part, x, back)


def flip(m: Eager, x: Tensor) -> Tensor:
    """`flip`, a copy laid out like the tensor."""
    node = m.node(x)
    return m.made(m.like(x), node, (x,), lambda grads, saved: [m.like(grads[0])])


def detach(m: Eager, x: Tensor) -> Tensor:
    """The same memory, without a gradient."""
    return m.see(x, x.sizes, x.strides)


def view_as_complex(m: Eager, x: Tensor) -> Tensor:
    """Pairs of fp32 as complex numbers; the gradient is seen as pairs again."""
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        pairs = m.see(grads[0], own, (*[2 * stride for stride in grads[0].strides], 1))
        pairs.dtype = "fp32"
        return [pairs]

    y = m.see(x, x.sizes[:-1], tuple([stride // 2 for stride in x.strides[:-1]]))
    y.dtype = "complex64"
    return m.viewed(y, x, back)


def pass_on(grads: Grads, saved: Grads) -> Grads:
    """The gradient as it is."""
    return grads
