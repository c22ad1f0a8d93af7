"""Memory that CUDA kernels take for themselves, by the function of ATen that a trace sees.

The rules are those of `vitprof.cuda`. A function that is not named here has only its tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vitprof.allocation.strides import is_in_format, suggests_channels_last
from vitprof.cuda import reductions
from vitprof.cuda.convolutions import most_workspace
from vitprof.cuda.norms import (
    foreach_norm_partials,
    group_norm_backward_scratch,
    group_norm_scratch,
    layer_norm_partials,
)

if TYPE_CHECKING:
    from vitprof.cuda.gpus import Gpu

_ATEN = torch.ops.aten

Buffers = list[list[int]]  # bytes of buffers that are held at once, one after the other


def own_memory(gpu: Gpu, func: Any, args: Sequence[Any], result: Any) -> Buffers:
    """Return the buffers that the kernel of a function takes beside its results.

    Args:
        gpu: GPU that it runs on.
        func: overload of a function of ATen.
        args: its arguments.
        result: its result.
    """
    rule = _RULES.get(func.overloadpacket)
    return [] if rule is None else rule(gpu, args, result)


def workspace(func: Any, args: Sequence[Any], result: Any) -> int:
    """Return the largest workspace that cuDNN was seen to take; 0 if it is no convolution."""
    if func.overloadpacket is _ATEN.convolution:
        x, weight, y = args[0], args[1], result
    elif func.overloadpacket is _ATEN.convolution_backward:
        y, x, weight = args[:3]
    else:
        return 0
    if weight.shape[1] == 1 < x.shape[1]:
        return 0
    elements = [one.numel() for one in (x, y, weight)]
    return most_workspace(*elements, element=x.element_size())


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


def _copies(*inputs: Tensor) -> list[int]:
    """Return bytes of contiguous copies that a kernel reads in place of inputs that are not."""
    return [_bytes(x) for x in inputs if not x.is_contiguous()]


def _scratch(gpu: Gpu, x: Tensor, dims: Any, result: Tensor, *, kind: str) -> Buffers:
    if not x.numel() or not x.ndim:
        return []
    every = range(x.ndim)
    if dims is None or (isinstance(dims, Sequence) and not dims):
        dims = every
    given = [dims] if isinstance(dims, int) else dims
    element = x.element_size()
    accumulator, vector = reductions.widths(kind, element)
    sizes = reductions.scratch(
        *(x.shape, x.stride(), [dim % x.ndim for dim in given]),
        element=element,
        gpu=gpu,
        result=result.element_size(),
        accumulator=accumulator,
        vector=vector,
    )
    return [[*pair] for pair in zip(sizes[::2], sizes[1::2], strict=True)]


def _reduction(kind: str, *, place: int = 1) -> Callable[..., Buffers]:
    """Return the rule of a reduction whose argument at `place` has the axes."""

    def rule(gpu: Gpu, args: Sequence[Any], result: Any) -> Buffers:
        made = result[0] if isinstance(result, tuple | list) else result
        dims = args[place] if len(args) > place else None
        if isinstance(dims, bool):  # `std(x, unbiased)` has no axes
            dims = None
        return _scratch(gpu, args[0], dims, made, kind=kind)

    return rule


def _contiguous(gpu: Gpu, args: Sequence[Any], result: Any) -> Buffers:
    """Return the copy of a first argument that is not contiguous."""
    return [_copies(args[0])]


def _softmax_backward(gpu: Gpu, args: Sequence[Any], result: Tensor) -> Buffers:
    # SoftMax.cu, `softmax_backward_cuda_out`, makes the product of gradient and output first.
    return [[_bytes(args[0]), *_copies(args[0])]]


def _layer_norm_backward(gpu: Gpu, args: Sequence[Any], result: Any) -> Buffers:
    gradient, x, shape, _, _, weight = args[:6]
    copies = _copies(x, gradient)
    columns = prod(shape)
    partial = layer_norm_partials(gpu, x.numel() // max(columns, 1), columns)
    if not partial or weight is None:
        return [copies]
    element = weight.element_size()
    accumulator, vector = reductions.widths("sum", element)
    sizes = reductions.scratch(
        *((partial, columns), (columns, 1), (0,)),
        element=element,
        gpu=gpu,
        accumulator=accumulator,
        vector=vector,
    )
    both = [*copies, *[partial * columns * element] * 2]
    return [[*both, *sizes], [*both, *sizes]]


def _group_norm(gpu: Gpu, args: Sequence[Any], result: Any) -> Buffers:
    x, weight, bias, images, channels = args[:5]
    affine = weight is not None or bias is not None
    return [[*_copies(x), *(group_norm_scratch(images, channels) if affine else [])]]


def _group_norm_backward(gpu: Gpu, args: Sequence[Any], result: Any) -> Buffers:
    gradient, x, _, _, _, images, channels, inner, groups = args[:9]
    own = group_norm_backward_scratch(images, channels, inner, groups)
    return [[*_copies(x, gradient), *own]]


def _clone_of_spectrum(gpu: Gpu, args: Sequence[Any], result: Tensor) -> Buffers:
    # SpectralOps.cpp, `_fft_c2r_cufft`: the transform overwrites its input.
    return [[_bytes(args[0])]]


def _roll(gpu: Gpu, args: Sequence[Any], result: Tensor) -> Buffers:
    # TensorTransformations.cpp, `roll_common`: along one axis after the other.
    return [[_bytes(result)]] * (len(args[2]) > 1)


def _norms_together(gpu: Gpu, args: Sequence[Any], result: Sequence[Tensor]) -> Buffers:
    return [[foreach_norm_partials([x.numel() for x in args[0]])]]


def _convolution(gpu: Gpu, args: Sequence[Any], result: Tensor) -> Buffers:
    x, weight = args[:2]
    return [_in_format(x, weight, (x, weight))]


def _convolution_backward(gpu: Gpu, args: Sequence[Any], result: Any) -> Buffers:
    gradient, x, weight, wanted = *args[:3], args[-1]
    copies = _in_format(x, weight, (gradient, weight, *[x] * wanted[1]))
    if not wanted[2]:
        return [copies]
    dims = [dim for dim in range(gradient.ndim) if dim != 1]
    return [copies, *_scratch(gpu, gradient, dims, result[2], kind="sum")]


def _in_format(x: Tensor, weight: Tensor, read: Sequence[Tensor]) -> list[int]:
    """Return bytes of copies of tensors that are not in the memory format of a convolution."""
    last = any(suggests_channels_last(tuple(one.shape), tuple(one.stride())) for one in (x, weight))
    return [
        _bytes(one)
        for one in read
        if not is_in_format(tuple(one.shape), tuple(one.stride()), last=last)
    ]


_RULES: dict[Any, Callable[..., Buffers]] = {
    _ATEN.sum: _reduction("sum"),
    _ATEN.mean: _reduction("mean"),
    _ATEN.prod: _reduction("mean"),
    _ATEN.linalg_vector_norm: _reduction("norm", place=2),
    _ATEN.norm: _reduction("norm", place=2),
    _ATEN.amax: _reduction("extreme"),
    _ATEN.amin: _reduction("extreme"),
    _ATEN.max: _reduction("place"),
    _ATEN.min: _reduction("place"),
    _ATEN.argmax: _reduction("place"),
    _ATEN.argmin: _reduction("place"),
    _ATEN.var: _reduction("deviation"),
    _ATEN.std: _reduction("deviation"),
    _ATEN.var_mean: _reduction("deviation"),
    _ATEN.std_mean: _reduction("deviation"),
    _ATEN.convolution: _convolution,
    _ATEN.convolution_backward: _convolution_backward,
    _ATEN._softmax: _contiguous,
    _ATEN._log_softmax: _contiguous,
    _ATEN._softmax_backward_data: _softmax_backward,
    _ATEN._log_softmax_backward_data: _contiguous,
    _ATEN.native_layer_norm: _contiguous,
    _ATEN.native_layer_norm_backward: _layer_norm_backward,
    _ATEN.native_group_norm: _group_norm,
    _ATEN.native_group_norm_backward: _group_norm_backward,
    _ATEN.roll: _roll,
    _ATEN._fft_c2r: _clone_of_spectrum,
    _ATEN._foreach_norm: _norms_together,
}
