"""Softmax, layer norms, batch norms and scales of channels."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.elementwise import add, multiply, rsqrt, square
from vitprof.allocation.kernels.reductions import averaged, mean
from vitprof.allocation.kernels.views import Grads, make_contiguous, reshape
from vitprof.allocation.strides import (
    Ints,
    channels_last,
    contiguous,
    elementwise,
    is_contiguous,
    suggests_channels_last,
)
from vitprof.allocation.timeline import BYTES
from vitprof.cuda.norms import layer_norm_partials
from vitprof.errors import SpecError
from vitprof.values.size import ONE, Size, product


def softmax(m: Eager, x: Tensor) -> Tensor:
    """`_softmax` keeps its output; in order, as is its gradient. By autocast on a GPU in fp32."""
    dtype = m.widened(x) if x.dtype == "fp16" else x.dtype  # whose kernel reads 16 bits
    if dtype == x.dtype:
        x = m.exact(x)
        dtype = x.dtype
    node = m.node(x)
    y = m.new(x.sizes, dtype)
    m.free(y, *m.copies(x))
    m.save(node, y)
    sizes, own = x.sizes, x.dtype

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        # SoftMax.cu, `softmax_backward_cuda_out`, makes the product of gradient and output first.
        product_of_both = [] if m.platform is None else [m.like(grads[0])]
        made = m.new(sizes, own)
        m.free(made, *m.copies(grads[0]), *product_of_both)
        return [made]

    return m.made(y, node, (x,), back)


def layer_norm(m: Eager, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`native_layer_norm` keeps its input, and mean and deviation of each row."""
    x = m.exact(x)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    node = m.node(*inputs)
    m.save(node, x, *inputs[1:])
    copies = m.copies(x)
    y = m.new(x.sizes, x.dtype)
    dtype, rows = _of_statistics(m, x, weight), (*x.sizes[:-1], ONE)
    statistics = m.new(rows, dtype), m.new(rows, dtype)
    m.free(y, *statistics, *copies)
    m.save(node, *statistics)
    layout, sizes, own = x.layout, x.sizes, weight.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        g, of_x = grads[0], None
        copies = m.copies(saved[0])
        if node.wants(0):
            lies = None if m.departs.layouts or g.dtype != "fp32" else _fake_gradient(layout, g)
            of_x = m.new(sizes, g.dtype, lies)
        of_own = [m.new(own, weight.dtype) for _ in inputs[1:]]
        copies += m.copies(g) + m.buffers(2 * own[0].value * BYTES[saved[0].dtype])
        if m.platform is not None:
            _sum_partials(m, product(sizes[:-1]).value, weight)
        m.free(*copies, *of_own, *([of_x] if of_x is not None else []))
        return [of_x, *of_own]

    return m.made(y, node, inputs, back)


def _sum_partials(m: Eager, rows: int, weight: Tensor) -> None:
    """What a GPU takes to sum the gradients of gain and bias over very many rows."""
    assert m.platform is not None
    columns = weight.shape[0]
    partial = layer_norm_partials(m.platform.gpu, rows, columns)
    if partial:
        partials = [m.new((Size(partial), Size(columns)), weight.dtype) for _ in range(2)]
        for one in partials:
            m.reduction(one, (0,))
        m.free(*partials)


def _of_statistics(m: Eager, x: Tensor, weight: Tensor) -> str:
    """The dtype of a norm's mean and deviation."""
    mixed = m.departs.statistics and x.dtype != weight.dtype
    return "fp32" if m.on_gpu or mixed else x.dtype


def _fake_gradient(x: tuple[Ints, Ints], grad: Tensor) -> Ints:
    """The strides of the gradient of a layer norm's input, as fake tensors have it in fp32.

    They make it element by element (`native_layer_norm_backward` in torch/_decomp).
    """
    shape = x[0]
    rows = (*shape[:-1], 1)
    row, channel = (rows, contiguous(rows)), ((shape[-1],), (1,))

    def joined(*layouts: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
        return shape, elementwise(shape, layouts)

    normalised = joined(joined(x, row), row)
    scaled = joined(joined(grad.layout, channel))
    inner = joined(joined(scaled, row), joined(normalised, row))
    return joined(row, inner)[1]


def rms_norm(m: Eager, x: Tensor, weight: Tensor) -> Tensor:
    """On a GPU one kernel, which keeps its input and the root of each row's mean square.

    On a CPU what it is made of, in fp32: x times that root's reciprocal, times the gain.
    """
    if m.on_gpu:
        return _fused_rms_norm(m, x, weight)
    dtype, dim = x.dtype, len(x.sizes) - 1
    exact = m.cast(x, "fp32")
    squares = square(m, exact)
    means = mean(m, squares, (*x.sizes[:-1], ONE), (dim,))
    m.by_number(means)  # and a small number added in place
    roots = rsqrt(m, means)
    m.free(squares, means)
    y = make_contiguous(m, multiply(m, multiply(m, exact, roots), weight))
    m.free(exact)
    y = m.cast(y, dtype)
    m.free(roots)
    return y


def _fused_rms_norm(m: Eager, x: Tensor, weight: Tensor) -> Tensor:
    x = m.exact(x)
    node = m.node(x, weight)
    y = m.like(x)
    roots = m.new(x.sizes[:-1], "fp32")
    m.free(y, roots)
    m.save(node, x, weight, roots)

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        of_x = m.like(saved[0]) if node.wants(0) or not m.departs.unwanted else None
        of_weight = m.like(weight)
        if of_x is not None:  # in the trace a function of Python's makes it unasked
            m.free(of_x)
        return [of_x, of_weight]

    return m.made(y, node, (x, weight), back)


def affine(m: Eager, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A product with the gain, and a sum with the bias."""
    return add(m, multiply(m, x, weight), bias)


def batch_norm(m: Eager, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`native_batch_norm` keeps its input, and in training mean and deviation of each channel.

    Raises:
        SpecError: there is one number a channel to train with, which has no deviation.
    """
    rows = [size for place, size in enumerate(x.shape) if place != 1]
    if m.training and all(size == 1 for size in rows):
        raise SpecError(
            f"{m.timeline.at} has a single value of each channel to normalise, which training "
            "cannot do; give a batch of 2 or more"
        )
    if m.training:
        m.free(*m.number())  # the count of batches goes up by one
    node = m.node(x, weight, bias)
    m.save(node, x, weight)
    y = m.elementwise(x)
    in_order = is_contiguous(*x.layout)
    channels = weight.shape[0]
    exact = BYTES["fp32"] * channels
    if m.training:
        dtype = _of_statistics(m, x, weight)
        if not in_order:
            mean_of_each = averaged(m, x, weight.sizes, dtype)
            statistics = [mean_of_each, m.new(weight.sizes, dtype)]
        else:
            statistics = [m.new(weight.sizes, dtype), m.new(weight.sizes, dtype)]
            own = exact if dtype == "fp16" else BYTES[dtype] * channels
            m.free(y, *statistics, *m.buffers(own, own, exact))
        m.free(y, *statistics)
    if in_order:
        m.free(y, *m.buffers(exact, exact))
    if m.training:
        m.save(node, *statistics)
    sizes, own_sizes = x.sizes, weight.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        g, of_x = grads[0], None
        if node.wants(0) or not m.departs.unwanted:
            if m.departs.layouts:
                last = suggests_channels_last(*saved[0].layout)
                of_x = m.new(sizes, g.dtype, channels_last(saved[0].shape) if last else None)
            else:
                of_x = m.elementwise(g, saved[0])
        made = [of_x] if of_x is not None else []
        made += [m.new(own_sizes, weight.dtype), m.new(own_sizes, weight.dtype)]
        if not (in_order and is_contiguous(*g.layout)):
            own = [g] if m.own_memory else []  # is summed, a half-precision one in fp32
            copies = [m.like(x, "fp32") for x in own if x.dtype == "fp16"]
            sums = [m.new(own_sizes, "fp32" if x.dtype == "fp16" else x.dtype) for x in own]
            m.free(*made, *copies, *sums)
        else:
            if of_x is not None and m.own_memory:
                m.free(*made, m.like(of_x))  # in place of the first one
            casts = [exact] * 3 if saved[0].dtype != "fp32" else []
            m.free(*made, *m.buffers(*casts, 2 * exact))
        m.free(*made)
        return [of_x, *made[-2:]]

    return m.made(y, node, (x, weight, bias), back)


def token_batch_norm(m: Eager, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The tokens of all images as rows of a matrix."""
    rows = reshape(m, x, (product(x.sizes[:-1]), x.sizes[-1]))
    y = batch_norm(m, rows, weight, bias)
    return reshape(m, y, x.sizes)
