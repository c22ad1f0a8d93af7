"""CUDA kernels emulated for a trace on fake tensors of the CPU, as far as memory goes.

A build of PyTorch without CUDA cannot run autograd on fake tensors of a GPU. So a trace runs on
fake tensors of the CPU, and functions that differ on a GPU are replaced: fused attention, the
fused kernels of RMSNorm, dropout and softmax in fp16, and the functions that autocast computes
in fp32 on a GPU but not on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vitprof.cuda.attention import Kernel, check_images, kernel_of
from vitprof.running import autocast
from vitprof.running.fused import (
    Attention,
    Dropout,
    HalfSoftmax,
    Launched,
    RMSNorm,
    padded_mask,
    unnoticed,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from vitprof.cuda.platform import Platform

_ATEN = torch.ops.aten
_NORMS = {
    _ATEN.native_layer_norm.default,
    _ATEN.native_batch_norm.default,
}
# Modules whose functions are written in Python and call others, which have to be seen too.
_IN_PYTHON = ("torch.nn.functional", "torch.functional", "torch._tensor", "torch.autograd")
_CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


class GpuKernels(TorchFunctionMode):
    """Mode that replaces functions that a GPU computes by other kernels or in another dtype.

    Args:
        platform: GPU whose kernels run; None for flash attention of 16 bits, the efficient one
            of fp32, and casts where a kernel of a named GPU needs none.
        in_place: makes a context in which the next sum is added in place.
        launched: called with what a fused kernel reads, writes and multiplies.
    """

    def __init__(
        self,
        platform: Platform | None = None,
        in_place: Callable[[], AbstractContextManager[None]] | None = None,
        launched: Launched = unnoticed,
    ) -> None:
        super().__init__()
        self._platform = platform
        self._in_place = in_place
        self._launched = launched
        self._within: set[Callable[..., Any]] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if _is_in_python(func) and func not in self._within:
            self._within.add(func)
            try:
                with self:
                    return _unchecked(func)(*args, **kwargs)
            finally:
                self._within.discard(func)
        replaced = _REPLACED.get(getattr(func, "__name__", ""))
        if replaced is not None:
            made = replaced(self, *args, **kwargs)
            if made is not None:
                return made
        if autocast.is_on():
            exact = self._platform is not None
            args, kwargs = autocast.cast(func, args, kwargs, exact=exact)
        return func(*args, **kwargs)

    def attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor | None:
        """Return fused attention, or what it is composed of where no kernel takes it."""
        q, k, v = (autocast.lowered(one) for one in (query, key, value))
        if q.ndim != 4 or not q.numel() or not k.numel():
            return None
        mask = attn_mask
        if mask is not None:
            mask = _as_numbers(mask, q) if mask.dtype == torch.bool else autocast.lowered(mask)
        kernel = self._kernel(q, v, mask)
        if k.shape[1] != q.shape[1] and (kernel is Kernel.EFFICIENT or not enable_gqa):
            made: Tensor = _ATEN._scaled_dot_product_attention_math(
                q, k, v, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
            )[0]
            return made
        keeps = torch.is_grad_enabled() and any(
            one.requires_grad for one in (q, k, v, mask) if one is not None
        )
        if mask is not None and kernel is Kernel.EFFICIENT:
            mask = padded_mask(mask, q, k)
        if self._platform is not None:
            check_images(kernel, self._platform, q.shape[0])
            return Attention.apply(q, k, v, mask, kernel, keeps, self._launched)
        if kernel is Kernel.EFFICIENT:
            return _ATEN._scaled_dot_product_efficient_attention(
                q, k, v, mask, keeps, dropout_p, is_causal, scale=scale
            )[0]
        return _ATEN._scaled_dot_product_flash_attention(
            q, k, v, dropout_p, is_causal, scale=scale
        )[0]

    def _kernel(self, q: Tensor, v: Tensor, mask: Tensor | None) -> Kernel:
        bits = 8 * q.element_size()
        if self._platform is None:
            return Kernel.FLASH if bits == 16 and mask is None else Kernel.EFFICIENT
        words = "none" if mask is None else "trained" if mask.requires_grad else "fixed"
        head_dim = q.shape[-1]
        if v.shape[-1] != head_dim:
            return Kernel.EFFICIENT
        return kernel_of(self._platform, bits=bits, head_dim=head_dim, mask=words)

    def rms_norm(
        self,
        input: Tensor,
        normalized_shape: list[int],
        weight: Tensor | None = None,
        eps: float | None = None,
    ) -> Tensor:
        """Return the result of the fused RMSNorm."""
        wide = autocast.is_on() and input.dtype in (torch.bfloat16, torch.float16)
        x = input.float() if wide else input
        always = self._platform is None
        return RMSNorm.apply(x, weight, len(normalized_shape), always, self._launched)

    def dropout(self, input: Tensor, p: float, train: bool) -> Tensor | None:
        """Return the result of the fused dropout; None where it is composed."""
        if not train or not 0 < p < 1 or not input.numel():
            return None
        return Dropout.apply(input, self._launched)

    def softmax(self, input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor | None:
        """Return a softmax in fp32 that reads fp16 as it is; None for others."""
        wide = dtype is torch.float32 or (dtype is None and autocast.is_on())
        if self._platform is None or not wide or input.dtype != torch.float16:
            return None
        return HalfSoftmax.apply(input, self._launched)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
        """Return a linear layer that adds its bias in place; None where it is one product."""
        if self._in_place is None or bias is None or input.ndim == 2 or input.is_contiguous():
            return None
        with self._in_place():
            return functional.linear(input, weight, bias)


_REPLACED: dict[str, Callable[..., Tensor | None]] = {
    "scaled_dot_product_attention": GpuKernels.attention,
    "rms_norm": GpuKernels.rms_norm,
    "dropout": GpuKernels.dropout,
    "softmax": GpuKernels.softmax,
    "linear": GpuKernels.linear,
}


def _is_in_python(func: Callable[..., Any]) -> bool:
    return isinstance(func, FunctionType) and func.__module__ in _IN_PYTHON


@cache
def _unchecked(func: FunctionType) -> Callable[..., Any]:
    """Return a copy of a function that runs at once, so that a mode sees the functions it calls.

    PyTorch's functions in Python first look if a mode wants them, and the mode is off within them.
    """
    names = {**func.__globals__, **dict.fromkeys(_CHECKS, lambda *_: False)}
    copied = FunctionType(func.__code__, names, func.__name__, func.__defaults__, func.__closure__)
    copied.__kwdefaults__ = func.__kwdefaults__
    return copied


def _as_numbers(mask: Tensor, q: Tensor) -> Tensor:
    """Return a mask of truths as one that is added to the scores."""
    return torch.zeros_like(mask, dtype=q.dtype).masked_fill_(mask.logical_not(), float("-inf"))


def statistics_in_fp32(func: object, result: Any) -> Any:
    """Return a norm's result with mean and deviation in fp32, as on a GPU; others unchanged.

    Those of a group norm are of the type of its input (`native_group_norm` in group_norm.cpp).
    """
    if func not in _NORMS:
        return result
    y, *statistics = result
    return (y, *(found.float() for found in statistics))
