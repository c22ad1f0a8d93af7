"""Views and copies: the methods of tensors that do no arithmetic.

The gradient of a view's input is the inverse view of its gradient, which may take a copy. For a
part of a tensor it is a new tensor with zeros elsewhere; for several parts, their concatenation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitprof.allocation.autograd import Back, Tensor, widest
from vitprof.allocation.eager import Eager
from vitprof.allocation.launches import Kind
from vitprof.allocation.strides import channels_last, suggests_channels_last
from vitprof.formulas.op import Shape
from vitprof.values.size import ONE, Size

Grads = Sequence[Any]


def reshape(m: Eager, x: Tensor, sizes: Shape) -> Tensor:
    """Follow `at::reshape`: a view if the strides allow it, else a view of a copy."""
    strides = m.reshaped(x, sizes)
    if strides is None:
        x = clone(m, x)
        strides = m.reshaped(x, sizes)
    assert strides is not None
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [reshape_gradient(m, grads[0], own)]

    return m.viewed(m.view(x, sizes, strides), x, back)


def reshape_gradient(m: Eager, grad: Tensor, sizes: Shape) -> Tensor:
    """Return a gradient with other axes: a view, or a copy if the strides allow no view."""
    strides = m.reshaped(grad, sizes)
    if strides is None:  # `clone` and `_unsafe_view`, which does not hold its base
        made = m.new(sizes, grad.dtype)
        m.launch(Kind.COPY, (grad,), (made,))
        return made
    return m.view(grad, sizes, strides)


def clone(m: Eager, x: Tensor) -> Tensor:
    """Follow `clone(memory_format=torch.contiguous_format)`."""
    node = m.node(x)
    return m.made(_contiguous(m, x), node, (x,), pass_on)


def _contiguous(m: Eager, x: Tensor) -> Tensor:
    """Allocate a contiguous copy."""
    made = m.new(x.sizes, x.dtype)
    m.launch(Kind.COPY, (x,), (made,))
    return made


def make_contiguous(m: Eager, x: Tensor) -> Tensor:
    """Follow `contiguous()`: x itself if it is contiguous, else a copy."""
    return x if x.is_contiguous else clone(m, x)


def permute(m: Eager, x: Tensor, dims: Sequence[int]) -> Tensor:
    """Follow `permute`, whose gradient is permuted back."""
    inverse = [dims.index(place) for place in range(len(dims))]

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [permuted(m, grads[0], inverse)]

    return m.viewed(permuted(m, x, dims), x, back)


def permuted(m: Eager, x: Tensor, dims: Sequence[int]) -> Tensor:
    """Return a view with permuted axes, without a gradient."""
    sizes, strides = x.sizes, x.strides
    return m.view(x, tuple([sizes[dim] for dim in dims]), tuple([strides[dim] for dim in dims]))


def transpose(m: Eager, x: Tensor, one: int, other: int) -> Tensor:
    """Follow `transpose`."""
    dims = [*range(len(x.sizes))]
    dims[one], dims[other] = dims[other], dims[one]
    return permute(m, x, dims)


def unsqueeze(m: Eager, x: Tensor, dim: int) -> Tensor:
    """Follow `unsqueeze`."""

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [_squeezed(m, grads[0], dim)]

    return m.viewed(_unsqueezed(m, x, dim), x, back)


def squeeze(m: Eager, x: Tensor, dim: int) -> Tensor:
    """Follow `squeeze` of an axis of length 1."""

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [_unsqueezed(m, grads[0], dim)]

    return m.viewed(_squeezed(m, x, dim), x, back)


def _unsqueezed(m: Eager, x: Tensor, dim: int) -> Tensor:
    step = x.shape[dim] * x.strides[dim] if dim < len(x.shape) else 1
    strides = (*x.strides[:dim], step, *x.strides[dim:])
    return m.view(x, (*x.sizes[:dim], ONE, *x.sizes[dim:]), strides)


def _squeezed(m: Eager, x: Tensor, dim: int) -> Tensor:
    strides = (*x.strides[:dim], *x.strides[dim + 1 :])
    return m.view(x, (*x.sizes[:dim], *x.sizes[dim + 1 :]), strides)


def expand(m: Eager, x: Tensor, sizes: Shape) -> Tensor:
    """Follow `expand`, whose gradient is summed over the expanded axes."""
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [m.sum_to(grads[0], own)]

    return m.viewed(expanded(m, x, sizes), x, back)


def expanded(m: Eager, x: Tensor, sizes: Shape) -> Tensor:
    """Return a tensor expanded to other sizes, without a gradient."""
    new = len(sizes) - len(x.sizes)
    strides = [0] * new
    for size, length, stride in zip(sizes[new:], x.shape, x.strides, strict=True):
        strides.append(0 if length == 1 and size.value != 1 else stride)
    return m.view(x, sizes, tuple(strides))


def unbind(m: Eager, x: Tensor, dim: int) -> tuple[Tensor, ...]:
    """Follow `unbind`, whose gradients are stacked."""
    sizes = (*x.sizes[:dim], *x.sizes[dim + 1 :])
    strides = (*x.strides[:dim], *x.strides[dim + 1 :])
    parts = [m.view(x, sizes, strides) for _ in range(x.shape[dim])]
    whole, dtype = x.sizes, x.dtype

    def missing() -> Tensor:
        zero = filled(m, (), dtype)
        return m.view(zero, sizes, (0,) * len(sizes))

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        found = [missing() if grad is None else grad for grad in grads]
        if dim < len(sizes):  # `stack` along an existing axis of the parts is a `cat` along it
            along = (*sizes[:dim], Size(len(parts)) * sizes[dim], *sizes[dim + 1 :])
            joined = _put_together(m, found, along)
        else:
            found = [_unsqueezed(m, part, dim) for part in found]
            joined = _put_together(m, found, whole)
        strides = m.reshaped(joined, whole)
        assert strides is not None
        return [m.view(joined, whole, strides)]

    return _parts(m, x, parts, back)


def split(m: Eager, x: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
    """Follow `split`, whose gradients are concatenated."""
    parts = [m.view(x, sizes, x.strides) for sizes in shapes]
    whole, dtype = x.sizes, x.dtype

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        found = [
            filled(m, sizes, dtype) if grad is None else grad
            for sizes, grad in zip(shapes, grads, strict=True)
        ]
        return [_put_together(m, found, whole)]

    return _parts(m, x, parts, back)


def filled(m: Eager, sizes: Shape, dtype: str) -> Tensor:
    """Allocate a tensor that a kernel fills."""
    made = m.new(sizes, dtype)
    m.launch(Kind.ELEMENTWISE, (), (made,))
    return made


def _parts(m: Eager, x: Tensor, parts: Sequence[Tensor], back: Back) -> tuple[Tensor, ...]:
    """Return views as outputs of one function, which waits for all of their gradients."""
    m.made_view(x)
    node = m.node(x)
    for place, part in enumerate(parts):
        part.requires_grad = x.requires_grad
        part.node, part.slot = node, place
    if node is not None:
        m.pass_back(node, back)
        node.grads = [None] * len(parts)
    return tuple(parts)


def cat(m: Eager, parts: Sequence[Tensor], sizes: Shape) -> Tensor:
    """Follow `cat`, whose gradient is narrowed to views."""
    dtype = widest(*parts)
    alike = [m.cast(part, dtype) for part in parts]
    node = m.node(*alike)
    shapes = [part.sizes for part in alike]

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [m.view(grads[0], sizes, grads[0].strides) for sizes in shapes]

    return m.made(_put_together(m, alike, sizes), node, alike, back)


def stack(m: Eager, parts: Sequence[Tensor], dim: int) -> Tensor:
    """Follow `stack`, whose gradient is unbound."""
    node = m.node(*parts)
    own = parts[0].sizes
    number = len(parts)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        strides = (*grads[0].strides[:dim], *grads[0].strides[dim + 1 :])
        return [m.view(grads[0], own, strides) for _ in range(number)]

    y = m.new((*own[:dim], Size(number), *own[dim:]), parts[0].dtype)
    m.launch(Kind.COPY, parts, (y,))
    m.free(*parts)
    return m.made(y, node, parts, back)


def _put_together(m: Eager, parts: Sequence[Tensor], sizes: Shape) -> Tensor:
    """Allocate the concatenation of several tensors: channels-last if all are (`cat`)."""
    last = all(suggests_channels_last(*part.layout) for part in parts)
    shape = tuple([size.value for size in sizes])
    y = m.new(sizes, parts[0].dtype, channels_last(shape) if last else None)
    m.launch(Kind.COPY, parts, (y,))
    m.free(*parts)
    return y


def narrow(m: Eager, x: Tensor, sizes: Shape) -> Tensor:
    """Follow `x[:, a:b]`, an alias of x if it is the whole axis."""
    part = m.view(x, sizes, x.strides)
    if part.shape == x.shape:
        return m.viewed(part, x, pass_on)
    return _part(m, part, x)


def select(m: Eager, x: Tensor, dim: int, sizes: Shape) -> Tensor:
    """Follow `x[:, i]`."""
    return _part(m, m.view(x, sizes, (*x.strides[:dim], *x.strides[dim + 1 :])), x)


def unfold(m: Eager, x: Tensor, dim: int, sizes: Shape) -> Tensor:
    """Follow `unfold` with a step of 1."""
    return _part(m, m.view(x, sizes, (*x.strides, x.strides[dim])), x, Kind.REDUCTION)


def _part(m: Eager, part: Tensor, x: Tensor, kind: Kind = Kind.COPY) -> Tensor:
    """Return a view of a part, whose gradient is a new tensor with zeros elsewhere."""
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        made = m.new(own, grads[0].dtype)
        m.launch(kind, grads, (made,))
        return [made]

    return m.viewed(part, x, back)


def pad(m: Eager, x: Tensor, sizes: Shape) -> Tensor:
    """Follow `constant_pad_nd`, which fills a tensor with zeros and copies x into it.

    It is channels-last if x is. Its gradient is a copy of a part.
    """
    node = m.node(x)
    own, shape = x.sizes, tuple([size.value for size in sizes])
    last = suggests_channels_last(*x.layout)
    y = m.new(sizes, x.dtype, channels_last(shape) if last else None)
    m.launch(Kind.ELEMENTWISE, (x,), (y,))

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        part = m.view(grads[0], own, grads[0].strides)
        made = m.like(part)
        m.launch(Kind.ELEMENTWISE, (part,), (made,))
        return [made]

    return m.made(y, node, (x,), back)


def flip(m: Eager, x: Tensor) -> Tensor:
    """Follow `flip`, a copy with the strides of x if x is dense."""
    node = m.node(x)
    return m.made(m.copied(x, x.dtype), node, (x,), lambda g, kept: [m.copied(g[0], g[0].dtype)])


def roll(m: Eager, x: Tensor, dims: int) -> Tensor:
    """Follow `roll`, which moves a tensor along one axis after the other; its gradient is alike."""
    node = m.node(x)
    return m.made(_rolled(m, x, dims), node, (x,), lambda g, kept: [_rolled(m, g[0], dims)])


def _rolled(m: Eager, x: Tensor, dims: int) -> Tensor:
    between = []
    if dims > 1 and (m.own_memory or m.platform is not None):
        between = [m.new(x.sizes, x.dtype) for _ in range(dims - 1)]
    y = m.new(x.sizes, x.dtype)
    m.launch(Kind.COPY, (x,), (y,), own=between)
    m.free(*between)
    return y


def shift(m: Eager, x: Tensor) -> Tensor:
    """Follow `constant_pad_nd` with as much padding as it cuts; its gradient is moved back."""
    node = m.node(x)
    return m.made(_moved(m, x), node, (x,), lambda grads, saved: [_moved(m, grads[0])])


def _moved(m: Eager, x: Tensor) -> Tensor:
    y = m.new(x.sizes, x.dtype)
    m.launch(Kind.ELEMENTWISE, (x,), (y,))
    return y


def detach(m: Eager, x: Tensor) -> Tensor:
    """Follow `detach`: a view without a gradient."""
    return m.view(x, x.sizes, x.strides)


def view_as_complex(m: Eager, x: Tensor) -> Tensor:
    """Follow `view_as_complex`; the gradient is viewed as pairs of fp32."""
    own = x.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        pairs = m.view(grads[0], own, (*[2 * stride for stride in grads[0].strides], 1))
        pairs.dtype = "fp32"
        return [pairs]

    y = m.view(x, x.sizes[:-1], tuple([stride // 2 for stride in x.strides[:-1]]))
    y.dtype = "complex64"
    return m.viewed(y, x, back)


def pass_on(grads: Grads, saved: Grads) -> Grads:
    """Return the gradient unchanged."""
    return grads
