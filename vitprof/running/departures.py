"""Departures of eager PyTorch from fake tensors, undone in a trace.

`vitprof.allocation.departures` names them. Fake tensors are a subclass, for which autograd's
engine and some formulas of derivatives make new tensors where they else change one in place; and
some of their kernels give results other strides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vitprof.allocation.strides import elementwise, is_dense, suggests_channels_last, view

_ATEN = torch.ops.aten
# Use counts of a tensor and of its storage, if the engine alone holds them.
_HOLDERS, _OF_STORAGE = 4, 2
_VIEWS = {_ATEN.view.default, _ATEN._unsafe_view.default}
# Derivatives that fake tensors select by the input, and the place of that input.
_SELECTED = {_ATEN.elu_backward.default: 5, _ATEN.softplus_backward.default: 1}
# Functions that derivatives call out of place for subclasses, and else in place.
_IN_PLACE = {
    _ATEN.index_put.default,
    _ATEN._index_put_impl.default,
    _ATEN.scatter_add.default,
    _ATEN.index_add.default,
}


def adds_gradients(func: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return True if autograd's engine adds up gradients, and would do so in place.

    It does if nothing else holds the first one and its elements fill one range of memory
    (`accumulate` in input_buffer.cpp).
    """
    if func is not _ATEN.add.Tensor or kwargs or not _in_backward():
        return False
    old, new = args[0], args[1]
    if not isinstance(new, Tensor) or old.shape != new.shape:
        return False
    storage: Any = torch._C
    return (
        old._use_count() <= _HOLDERS
        and storage._storage_Use_Count(old.untyped_storage()._cdata) <= _OF_STORAGE
        and is_dense(tuple(old.shape), tuple(old.stride()))
    )


def is_in_place(func: object) -> bool:
    """Return True if a derivative changes its own zeros in place."""
    return func in _IN_PLACE and _in_backward()


def is_of_the_cpu(func: object, result: Any) -> bool:
    """Return True if a tensor lies in the memory of the CPU: a number, a count of steps."""
    return func is _ATEN.lift_fresh.default and isinstance(result, Tensor) and not result.ndim


def as_eager(func: object, args: Sequence[Any], result: Any) -> Any:
    """Return the results of views and of derivatives with the strides of a GPU."""
    if func in _VIEWS:
        return _viewed(args[0], result)
    if func is _ATEN.native_layer_norm_backward.default:
        return (_laid_out(result[0], last=False), *result[1:])
    if func is _ATEN.native_batch_norm_backward.default:
        x, wanted = args[1], args[-1][0]
        last = suggests_channels_last(tuple(x.shape), tuple(x.stride()))
        return (_laid_out(result[0], last=last) if wanted else None, *result[1:])
    if func in _SELECTED:
        return _elementwise(args[0], args[_SELECTED[func]], result)
    return result


def _viewed(x: Tensor, made: Tensor) -> Tensor:
    """Return a view with the strides that it has without fake tensors, on axes of length 1 too."""
    strides = view(tuple(x.shape), tuple(x.stride()), tuple(made.shape))
    if strides is None or strides == made.stride():
        return made
    return x.as_strided(made.shape, strides, x.storage_offset())


def _elementwise(gradient: Tensor, x: Tensor, made: Tensor) -> Tensor:
    """Return a new tensor with the layout of an elementwise result, of the gradient first."""
    shape = tuple(made.shape)
    operands = tuple((tuple(one.shape), tuple(one.stride())) for one in (gradient, x))
    strides = elementwise(shape, operands)
    return made if strides == made.stride() else made.new_empty_strided(shape, strides)


def _laid_out(tensor: Tensor | None, *, last: bool) -> Tensor | None:
    """Return a new tensor of the same shape, contiguous or with its channels innermost."""
    if tensor is None:
        return None
    own = torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d
    wanted = own if last else torch.contiguous_format
    if tensor.is_contiguous(memory_format=wanted):
        return tensor
    return torch.empty_like(tensor, memory_format=wanted)


def _in_backward() -> bool:
    return torch._C._current_autograd_node() is not None and not torch.is_grad_enabled()
