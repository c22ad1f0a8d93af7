"""Softmax, layer norms, batch norms and scales of channels."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.elementwise import add, multiply, rsqrt, square
from vitprof.allocation.kernels.reductions import averaged, mean
from vitprof.allocation.kernels.views import Grads, make_contiguous, reshape, transpose
from vitprof.allocation.launches import Kind
from vitprof.allocation.strides import (
    Ints,
    channels_last,
    contiguous,
    elementwise,
    suggests_channels_last,
)
from vitprof.allocation.timeline import BYTES
from vitprof.cuda.norms import (
    group_norm_backward_scratch,
    group_norm_scratch,
    layer_norm_partials,
)
from vitprof.errors import SpecError
from vitprof.values.size import ONE, Size, product


def softmax(m: Eager, x: Tensor) -> Tensor:
    """Follow `_softmax`, which saves its output; output and gradient are contiguous.

    Autocast on a GPU computes it in fp32. Its backward pass on a GPU first makes the product of
    gradient and output (`softmax_backward_cuda_out` in SoftMax.cu).
    """
    return _softmax(m, x, multiplies=True)


def log_softmax(m: Eager, x: Tensor) -> Tensor:
    """Follow `_log_softmax`, whose backward pass makes no product."""
    return _softmax(m, x, multiplies=False)


def _softmax(m: Eager, x: Tensor, *, multiplies: bool) -> Tensor:
    dtype = m.widened(x) if x.dtype == "fp16" else x.dtype  # the kernel itself reads fp16
    if dtype == x.dtype:
        x = m.to_float32(x)
        dtype = x.dtype
    node = m.node(x)
    y = m.new(x.sizes, dtype)
    copies = m.copies(x)
    m.launch(Kind.SOFTMAX, (x,), (y,), own=copies)
    m.free(y, *copies)
    m.save(node, y)
    sizes, own = x.sizes, x.dtype

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        product_of_both = [m.like(grads[0])] if multiplies and m.platform is not None else []
        made = m.new(sizes, own)
        product_of_both += m.copies(grads[0])
        m.launch(Kind.SOFTMAX, (*grads, *saved), (made,), own=product_of_both)
        m.free(made, *product_of_both)
        return [made]

    return m.made(y, node, (x,), back)


def layer_norm(m: Eager, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Follow `native_layer_norm`, which saves its input, and mean and deviation per row."""
    x = m.to_float32(x)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    node = m.node(*inputs)
    m.save(node, x, *inputs[1:])
    copies = m.copies(x)
    y = m.new(x.sizes, x.dtype)
    dtype, rows = _of_statistics(m, x, weight), (*x.sizes[:-1], ONE)
    statistics = m.new(rows, dtype), m.new(rows, dtype)
    m.launch(Kind.NORM, inputs, (y, *statistics), own=copies)
    m.free(y, *statistics, *copies)
    m.save(node, *statistics)
    layout, sizes, own = x.layout, x.sizes, weight.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        g, of_x = grads[0], None
        copies = m.copies(saved[0])
        if node.needs_grad(0):
            as_traced = not m.departs.layouts and g.dtype == "fp32"
            of_x = m.new(sizes, g.dtype, _fake_gradient(layout, g) if as_traced else None)
        of_own = [m.new(own, weight.dtype) for _ in inputs[1:]]
        copies += m.copies(g)
        made = [*([] if of_x is None else [of_x]), *of_own]
        read = (g, *saved[:2], *saved[-2:])
        m.launch(Kind.NORM, read, made, own=copies)
        copies += m.buffers(2 * own[0].value * BYTES[saved[0].dtype])
        if m.platform is not None:
            _sum_partials(m, product(sizes[:-1]).value, weight)
        m.free(*copies, *made)
        return [of_x, *of_own]

    return m.made(y, node, inputs, back)


def _sum_partials(m: Eager, rows: int, weight: Tensor) -> None:
    """Allocate the buffers with which a GPU sums gradients of gain and bias over many rows."""
    assert m.platform is not None
    columns = weight.shape[0]
    partial = layer_norm_partials(m.platform.gpu, rows, columns)
    if partial:
        partials = [m.new((Size(partial), Size(columns)), weight.dtype) for _ in range(2)]
        for one in partials:
            m.reduction(one, (0,))
        m.free(*partials)


def _of_statistics(m: Eager, x: Tensor, weight: Tensor) -> str:
    """Return the dtype of a norm's mean and deviation."""
    mixed = m.departs.statistics and x.dtype != weight.dtype
    return "fp32" if m.on_gpu or mixed else x.dtype


def _fake_gradient(x: tuple[Ints, Ints], grad: Tensor) -> Ints:
    """Return the strides of the gradient of a layer norm's input on fake tensors, in fp32.

    They compute it by elementwise functions (`native_layer_norm_backward` in torch/_decomp), of
    contiguous copies of what suggests channels-last.
    """
    shape = x[0]
    rows = (*shape[:-1], 1)
    row, channel = (rows, contiguous(rows)), ((shape[-1],), (1,))

    def joined(*layouts: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
        return shape, elementwise(shape, layouts)

    def taken(layout: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
        return (shape, contiguous(shape)) if suggests_channels_last(*layout) else layout

    normalised = joined(joined(taken(x), row), row)
    scaled = joined(joined(taken(grad.layout), channel))
    inner = joined(joined(scaled, row), joined(normalised, row))
    return joined(row, inner)[1]


def rms_norm(m: Eager, x: Tensor, weight: Tensor | None) -> Tensor:
    """Follow RMSNorm: on a GPU one kernel, which saves its input and a root mean square per row.

    On a CPU it is composed, in fp32: x times that root's reciprocal, times the gain if it has one.
    """
    if m.on_gpu:
        return _fused_rms_norm(m, x, weight)
    dtype, dim = x.dtype, len(x.sizes) - 1
    x_fp32 = m.cast(x, "fp32")
    squares = square(m, x_fp32)
    means = mean(m, squares, (*x.sizes[:-1], ONE), (dim,))
    m.in_place_with_scalar(means)  # ε is added in place
    roots = rsqrt(m, means)
    m.free(squares, means)
    y = multiply(m, x_fp32, roots)
    if weight is not None:
        y = multiply(m, y, weight)
    y = make_contiguous(m, y)
    m.free(x_fp32)
    y = m.cast(y, dtype)
    m.free(roots)
    return y


def _fused_rms_norm(m: Eager, x: Tensor, weight: Tensor | None) -> Tensor:
    x = m.to_float32(x)
    inputs = (x,) if weight is None else (x, weight)
    node = m.node(*inputs)
    y = m.like(x)
    roots = m.new(x.sizes[:-1], "fp32")
    m.launch(Kind.NORM, inputs, (y, roots))
    m.free(y, roots)
    m.save(node, *inputs, roots)

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        of_x = m.like(saved[0]) if node.needs_grad(0) or not m.departs.unwanted else None
        of_weight = [] if weight is None else [m.like(weight)]
        made = [] if of_x is None else [of_x]
        m.launch(Kind.NORM, (*grads, *saved), (*made, *of_weight))
        if of_x is not None:  # the trace makes it even if it is not required
            m.free(of_x)
        return [of_x, *of_weight]

    return m.made(y, node, inputs, back)


def affine(m: Eager, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Follow a product with the gain, and a sum with the bias."""
    return add(m, multiply(m, x, weight), bias)


def batch_norm(m: Eager, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Follow `native_batch_norm`, which saves its input and, in training, statistics per channel.

    Raises:
        SpecError: it trains on a single value per channel, which has no deviation.
    """
    rows = [size for place, size in enumerate(x.shape) if place != 1]
    if m.training and all(size == 1 for size in rows):
        raise SpecError(
            f"{m.timeline.at} has a single value of each channel to normalise, which training "
            "cannot do; give a batch of 2 or more"
        )
    if m.training:
        count = m.parameter((), trained=False, dtype="int64")
        m.launch(Kind.ELEMENTWISE, (count,), (count,))
        m.free(*m.scalar())  # 1 is added to the count of batches
    node = m.node(x, weight, bias)
    m.save(node, x, weight)
    y = m.arranged(x)
    x_is_contiguous = x.is_contiguous
    channels = weight.shape[0]
    in_fp32 = BYTES["fp32"] * channels
    if m.training:
        dtype = _of_statistics(m, x, weight)
        if not x_is_contiguous:
            mean_of_each = averaged(m, x, weight.sizes, dtype)
            statistics = [mean_of_each, m.new(weight.sizes, dtype)]
        else:
            statistics = [m.new(weight.sizes, dtype), m.new(weight.sizes, dtype)]
            own = in_fp32 if dtype == "fp16" else BYTES[dtype] * channels
            m.free(y, *statistics, *m.buffers(own, own, in_fp32))
        m.free(y, *statistics)
    if x_is_contiguous:
        m.free(y, *m.buffers(in_fp32, in_fp32))
    if m.training:
        m.launch(Kind.NORM, (x, weight, bias), (y, *statistics))
        m.save(node, *statistics)
    else:
        running = [m.parameter(weight.sizes, trained=False) for _ in range(2)]
        m.launch(Kind.NORM, (x, weight, bias, *running), (y,))
    sizes, own_sizes = x.sizes, weight.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        g, of_x = grads[0], None
        if node.needs_grad(0) or not m.departs.unwanted:
            if m.departs.layouts:
                last = suggests_channels_last(*saved[0].layout)
                of_x = m.new(sizes, g.dtype, channels_last(saved[0].shape) if last else None)
            else:
                of_x = m.arranged(g, saved[0])
        made = [of_x] if of_x is not None else []
        made += [m.new(own_sizes, weight.dtype), m.new(own_sizes, weight.dtype)]
        m.launch(Kind.NORM, (g, *saved), made)
        if not (x_is_contiguous and g.is_contiguous):
            own = [g] if m.own_memory else []  # is summed, if of fp16 then in fp32
            copies = [m.like(x, "fp32") for x in own if x.dtype == "fp16"]
            sums = [m.new(own_sizes, "fp32" if x.dtype == "fp16" else x.dtype) for x in own]
            m.free(*made, *copies, *sums)
        else:
            if of_x is not None and m.own_memory:
                m.free(*made, m.like(of_x))  # replaces the first one
            casts = [in_fp32] * 3 if saved[0].dtype != "fp32" else []
            m.free(*made, *m.buffers(*casts, 2 * in_fp32))
        m.free(*made)
        return [of_x, *made[-2:]]

    return m.made(y, node, (x, weight, bias), back)


def token_batch_norm(m: Eager, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Follow a batch norm of the tokens of all images as rows of a matrix."""
    rows = reshape(m, x, (product(x.sizes[:-1]), x.sizes[-1]))
    y = batch_norm(m, rows, weight, bias)
    return reshape(m, y, x.sizes)


def group_norm(m: Eager, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Follow `native_group_norm` with one group on (B, D, ...), of a contiguous input.

    It saves its input, and mean and deviation of each image. On a GPU, both passes take buffers of
    their own (`vitprof.cuda.norms`).

    Raises:
        SpecError: it has a single value, which `torch.nn.functional.group_norm` refuses.
    """
    if all(size == 1 for size in x.shape):
        raise SpecError(
            f"{m.timeline.at} has a single value to normalise, which a group norm cannot do; give "
            "a batch of 2 or more"
        )
    given = m.to_float32(x)  # autocast holds the cast until the norm is computed
    x = make_contiguous(m, given)
    images, channels = x.sizes[0], x.sizes[1]
    inner = product(x.sizes[2:]).value
    inputs = (x, weight) if bias is None else (x, weight, bias)
    node = m.node(*inputs)
    m.save(node, x, weight)
    # A trace keeps the strides of axes of length 1 if there are several images.
    kept = not m.departs.layouts and images.value > 1
    y = m.new(x.sizes, x.dtype, x.strides if kept else None)
    mixed = m.departs.statistics and x.dtype != weight.dtype
    statistics = [m.new((images, ONE), "fp32" if mixed else x.dtype) for _ in range(2)]
    own = _of_gpu(m, group_norm_scratch(images.value, channels.value))
    m.launch(Kind.NORM, inputs, (y, *statistics))
    m.free(y, *statistics, *own, given)
    m.save(node, *statistics)
    sizes, of_channels = x.sizes, weight.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        g = grads[0]
        copies = [] if g.is_contiguous else [m.new(sizes, g.dtype)]
        for copy in copies:
            m.launch(Kind.COPY, (g,), (copy,))
            g = copy
        dtype = g.dtype if m.departs.layouts or m.on_gpu else weight.dtype  # a trace widens it
        made = [m.new(sizes, dtype)] if node.needs_grad(0) else []
        of_own = [m.new(of_channels, weight.dtype) for _ in inputs[1:]]
        made += of_own
        count = images.value * channels.value
        own = m.buffers(*[BYTES["fp32"] * count] * 2)  # sums of each channel
        own += _of_gpu(m, group_norm_backward_scratch(images.value, channels.value, inner, 1))
        m.launch(Kind.NORM, (g, *saved), made)
        m.free(*made, *own, *copies)
        return [made[0] if node.needs_grad(0) else None, *of_own]

    return m.made(y, node, inputs, back)


def _of_gpu(m: Eager, buffers: list[int]) -> list[Tensor]:
    """Allocate buffers of these bytes that a kernel of a GPU by name takes for itself."""
    return [] if m.platform is None else [m.new((Size(some),), "bool") for some in buffers]


def token_group_norm(m: Eager, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Follow a group norm of (B, N, D) with its channels as the second axis."""
    if len(x.sizes) == 2:
        return group_norm(m, x, weight, bias)
    y = group_norm(m, transpose(m, x, 1, 2), weight, bias)
    return transpose(m, y, 1, 2)
