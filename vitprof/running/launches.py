"""Launches of kernels that a trace sees: what each function of ATen reads, writes and multiplies.

The rule is that of `vitprof.allocation.launches`. Functions that read less than their arguments
are named here; of all others the schema says what is written, and each argument is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from vitprof.allocation.launches import (
    Kind,
    Launch,
    Product,
    convolution_kind,
    in_memory,
)
from vitprof.allocation.strides import is_in_format, suggests_channels_last
from vitprof.running.step import DTYPES

_ATEN = torch.ops.aten
_DTYPES = {
    **{dtype: name for name, dtype in DTYPES.items()},
    **{torch.int64: "int64", torch.bool: "bool", torch.complex64: "complex64"},
}

_KINDS = {
    Kind.PRODUCT: "mm addmm bmm baddbmm",
    Kind.ACTIVATION: (
        "gelu gelu_backward silu silu_backward elu elu_backward sigmoid sigmoid_backward tanh "
        "tanh_backward exp softplus softplus_backward"
    ),
    Kind.COPY: "_to_copy clone copy_ cat stack flip roll slice_backward select_backward",
    Kind.REDUCTION: (
        "sum cumsum mean prod amax amin max min argmax argmin var std var_mean std_mean "
        "linalg_vector_norm norm avg_pool2d avg_pool2d_backward _adaptive_avg_pool2d "
        "_adaptive_avg_pool2d_backward unfold_backward"
    ),
    Kind.SOFTMAX: "_softmax _log_softmax _softmax_backward_data _log_softmax_backward_data",
    Kind.NORM: (
        "native_layer_norm native_layer_norm_backward native_batch_norm "
        "native_batch_norm_backward native_group_norm native_group_norm_backward"
    ),
    Kind.FFT: "_fft_r2c _fft_c2r _fft_c2c",
    Kind.PLACES: (
        "sort topk gather scatter_add index index_put _index_put_impl_ index_add index_select "
        "embedding embedding_dense_backward nll_loss_forward nll_loss_backward"
    ),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names.split()}
# Allocations and shapes, which no kernel is launched for.
_NONE = frozenset(
    [
        *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach"),
        *("lift_fresh", "_unsafe_view", "promote_types", "_local_scalar_dense", "is_same_size"),
    ]
)
_NO_VIEW = _NONE - {"_unsafe_view"}
# Functions that take a tensor for its shape, or overwrite it.
_WRITE_ONLY = frozenset(
    [
        *("copy_", "fill_", "zero_", "bernoulli_", "uniform_", "normal_", "ones_like"),
        *("zeros_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones"),
        "new_full",
    ]
)

_GATHERS = frozenset(["gather", "index", "index_select"])
_SCATTERS = frozenset(["scatter_add", "index_add", "index_put", "_index_put_impl"])


@cache
def _name(func: Any) -> str:
    return func.overloadpacket.__name__


@cache
def _moves(func: Any) -> bool:
    """Return True if a function launches a kernel: it is neither a view nor an allocation."""
    if func.namespace != "aten" or _name(func) in _NONE:
        return False
    aliases = [one.alias_info for one in func._schema.returns]
    return not aliases or any(alias is None or alias.is_write for alias in aliases)


def launch_of(
    func: Any,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    result: Any,
    *,
    at: str,
    there: Callable[[Tensor], bool],
    forward: bool,
    records: bool,
) -> Launch | None:
    """Return the launch of a function of ATen on a GPU; None if it launches no kernel.

    A view of the forward pass has one too, for the work of the host.

    Args:
        func: overload of a function.
        args: its arguments.
        kwargs: its arguments by name.
        result: its result.
        at: path of the submodule that runs.
        there: returns True if a tensor lies in the GPU's memory.
        forward: True in the forward pass.
        records: True if autograd records its functions.
    """
    name = _name(func)
    if not _moves(func):
        if not forward or func.namespace != "aten" or name in _NO_VIEW:
            return None
        return Launch(at, Kind.VIEW, 0, 0, recorded=records and _recorded([args[0]]))
    changed, given = [], []
    for place, argument in enumerate(func._schema.arguments):
        value = args[place] if place < len(args) else kwargs.get(argument.name)
        tensors = [*_tensors(value)]
        if _is_written(name, argument):
            changed += tensors
            if name in _WRITE_ONLY:
                continue
        given += tensors
    made = [] if changed else [*_tensors(result)]
    if name in _WRITE_ONLY and not changed:
        given = []
    if not all(there(one) for one in (*changed, *made)):
        return None
    written = [*changed, *made]
    own = 0
    if name in _SCATTERS:  # into zeros: elements that are not touched do not move
        places, values = [*_tensors(args[1:])]
        given, written = [places, values, values], [values]
    elif name in _GATHERS:
        given = [*_tensors(args[1:]), *made]
    elif name in _READS:
        given, own = _READS[name](args, result)
    products = _PRODUCTS[name](args, result) if name in _PRODUCTS else ()
    kind = _convolution_kind(name, args, products) or _kind(name)
    first = next(iter([*given, *made, *changed]), None)
    return Launch(
        *(at, kind, _bytes(given) + own, _bytes(written) + own, products, _dtype(first)),
        recorded=records and _recorded(given),
    )


def _dtype(tensor: Tensor | None) -> str:
    return "fp32" if tensor is None else _DTYPES.get(tensor.dtype, "fp32")


def _recorded(inputs: Sequence[Tensor]) -> bool:
    """Return True if autograd records a function of these inputs."""
    return torch.is_grad_enabled() and any(x.requires_grad for x in inputs)


def _is_written(name: str, argument: Any) -> bool:
    """Return True if a function changes an argument; the fused optimizers only scale gradients."""
    if name.startswith("_fused") and argument.name == "grads":
        return False
    return argument.alias_info is not None and argument.alias_info.is_write


def fused(
    at: str,
    kind: Kind,
    read: Sequence[Tensor],
    written: Sequence[Tensor],
    products: tuple[Product, ...] = (),
    own: int = 0,
    *,
    recorded: bool,
) -> Launch:
    """Return the launch of a fused kernel that a function of autograd stands for.

    Args:
        at: path of the submodule that runs.
        kind: kind of kernel.
        read: tensors that it reads.
        written: tensors that it writes.
        products: contractions that it computes.
        own: bytes of tensors that it makes for itself.
        recorded: True if autograd records functions of tensors that require a gradient.
    """
    return Launch(
        *(at, kind, _bytes(read) + own, _bytes(written) + own, products, _dtype(read[0])),
        recorded=recorded and any(x.requires_grad for x in read),
    )


def _kind(name: str) -> Kind:
    of_many = name.startswith(("_foreach", "_fused"))
    return _KIND_OF.get(name, Kind.OPTIMIZER if of_many else Kind.ELEMENTWISE)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(in_memory(tuple(x.shape), tuple(x.stride())) * x.element_size() for x in tensors)


# What kernels read that read less than their arguments, and what they write and read themselves.

Reads = tuple[list[Tensor], int]


def _copied(*inputs: Tensor) -> int:
    return sum(_whole(x) for x in inputs if not x.is_contiguous())


def _whole(x: Tensor) -> int:
    return x.numel() * x.element_size()


def _softmax(args: Sequence[Any], result: Tensor) -> Reads:
    return [args[0]], _copied(args[0])


def _softmax_backward(args: Sequence[Any], result: Tensor) -> Reads:
    gradient, y = args[:2]
    return [gradient, y], _whole(gradient) + _copied(gradient)


def _log_softmax_backward(args: Sequence[Any], result: Tensor) -> Reads:
    gradient, y = args[:2]
    return [gradient, y], _copied(gradient)


def _layer_norm(args: Sequence[Any], result: Any) -> Reads:
    return [*_tensors([args[0], args[2:4]])], _copied(args[0])


def _layer_norm_backward(args: Sequence[Any], result: Any) -> Reads:
    gradient, x, _, mean, deviation, weight = args[:6]
    return [*_tensors([gradient, x, mean, deviation, weight])], _copied(gradient, x)


def _group_norm(args: Sequence[Any], result: Any) -> Reads:
    return [*_tensors(args[:3])], _copied(args[0])


def _group_norm_backward(args: Sequence[Any], result: Any) -> Reads:
    return [*_tensors(args[:5])], _copied(*args[:2])


def _batch_norm(args: Sequence[Any], result: Any) -> Reads:
    x, weight, bias, mean, variance, training = args[:6]
    return [*_tensors([x, weight, bias] if training else [x, weight, bias, mean, variance])], 0


def _batch_norm_backward(args: Sequence[Any], result: Any) -> Reads:
    gradient, x, weight, _, _, mean, deviation = args[:7]
    return [*_tensors([gradient, x, weight, mean, deviation])], 0


def _inverse_fft(args: Sequence[Any], result: Tensor) -> Reads:
    return [args[0]], _whole(args[0])  # `_fft_c2r_cufft` transforms a clone


def _roll(args: Sequence[Any], result: Tensor) -> Reads:
    return [args[0]], _whole(result) * (len(args[2]) - 1)


def _convolution(args: Sequence[Any], result: Tensor) -> Reads:
    return [*_tensors(args[:3])], _in_format(args[0], args[1], args[:2])


def _convolution_backward(args: Sequence[Any], result: Any) -> Reads:
    gradient, x, weight, wanted = *args[:3], args[-1]
    of_x = [x] * wanted[1]
    own = _in_format(x, weight, [gradient, weight, *of_x])
    return [gradient, *[weight] * wanted[0], *of_x], own


def _in_format(x: Tensor, weight: Tensor, read: Sequence[Tensor]) -> int:
    """Return bytes of copies of tensors that are not in the memory format of a convolution."""
    last = any(suggests_channels_last(tuple(one.shape), tuple(one.stride())) for one in (x, weight))
    return sum(
        _whole(one)
        for one in read
        if not is_in_format(tuple(one.shape), tuple(one.stride()), last=last)
    )


def _pad(args: Sequence[Any], result: Tensor) -> Reads:
    return [min(args[0], result, key=_whole)], 0  # with negative padding it reads a part


def _loss_backward(args: Sequence[Any], result: Tensor) -> Reads:
    return [args[0], args[2], args[6]], 0


_READS: dict[str, Callable[[Sequence[Any], Any], Reads]] = {
    "_softmax": _softmax,
    "_log_softmax": _softmax,
    "_softmax_backward_data": _softmax_backward,
    "_log_softmax_backward_data": _log_softmax_backward,
    "native_layer_norm": _layer_norm,
    "native_layer_norm_backward": _layer_norm_backward,
    "native_group_norm": _group_norm,
    "native_group_norm_backward": _group_norm_backward,
    "native_batch_norm": _batch_norm,
    "native_batch_norm_backward": _batch_norm_backward,
    "_fft_c2r": _inverse_fft,
    "roll": _roll,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "constant_pad_nd": _pad,
    "nll_loss_backward": _loss_backward,
}

# Contractions


def _convolution_kind(name: str, args: Sequence[Any], products: tuple[Product, ...]) -> Kind | None:
    """Return the kind of a convolution; None for other functions."""
    if not name.startswith("convolution") or not products:
        return None
    x, weight = args[:2] if name == "convolution" else args[1:3]
    return convolution_kind(weight.shape[1], products[0].batch, products[0], x.numel())


def _mm(args: Sequence[Any], result: Tensor) -> tuple[Product, ...]:
    x, y = args[-2:] if len(args) < 3 else args[1:3]
    *lead, rows, inner = x.shape
    return (Product(prod(lead), rows, inner, y.shape[-1]),)


def _contracted(x: Tensor, weight: Tensor, y: Tensor, groups: int) -> Product:
    """Return a convolution as a product: positions by the kernel by channels, for each group."""
    channels, *kernel = weight.shape
    positions = y.shape[0] * prod(y.shape[2:])
    return Product(groups, positions, prod(kernel), channels // groups)


def _conv(args: Sequence[Any], result: Tensor) -> tuple[Product, ...]:
    return (_contracted(args[0], args[1], result, args[-1]),)


def _conv_backward(args: Sequence[Any], result: Any) -> tuple[Product, ...]:
    gradient, x, weight, groups, wanted = *args[:3], args[-2], args[-1]
    return (_contracted(x, weight, gradient, groups),) * (wanted[0] + wanted[1])


_PRODUCTS: dict[str, Callable[[Sequence[Any], Any], tuple[Product, ...]]] = {
    "mm": _mm,
    "addmm": _mm,
    "bmm": _mm,
    "baddbmm": _mm,
    "convolution": _conv,
    "convolution_backward": _conv_backward,
}
