"""CUDA kernels emulated for a trace on fake tensors of the CPU, as far as memory goes.

A build of PyTorch without CUDA cannot run autograd on fake tensors of a GPU. So a trace runs on
fake tensors of the CPU, and functions that differ on a GPU are replaced by name: fused attention
(flash for elements of two bytes, efficient for four), the fused kernels of RMSNorm and dropout,
and the functions that autocast computes in fp32 on a GPU but not on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_ATEN = torch.ops.aten

# Of PyTorch's "CUDA ops that can autocast to float32", those that the models use.
_IN_FP32 = {
    functional.layer_norm,
    functional.rms_norm,
    functional.softmax,
    functional.cross_entropy,
    torch.sum,
    Tensor.sum,
    Tensor.softmax,
    Tensor.exp,
    Tensor.pow,
    Tensor.square,
}
_NORMS = {_ATEN.native_layer_norm.default, _ATEN.native_batch_norm.default}


class GpuKernels(TorchFunctionMode):
    """Mode that replaces functions that a GPU computes by other kernels or in another dtype."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.scaled_dot_product_attention:
            return _fused_attention(*args)
        if func is torch.linalg.vector_norm and torch.is_autocast_enabled("cpu"):
            # Its own `dtype` needs no copy in fp32.
            return func(*args, **{**(kwargs or {}), "dtype": torch.float32})
        if func in _IN_FP32 and torch.is_autocast_enabled("cpu") and args[0].is_floating_point():
            args = (args[0].float(), *args[1:])
        if func is functional.rms_norm:
            return _FusedRMSNorm.apply(args[0], (kwargs or {})["weight"])
        if func is functional.dropout and (kwargs or {})["training"]:
            return _NativeDropout.apply(args[0])
        return func(*args, **(kwargs or {}))


class _NativeDropout(Function):
    """Tensors of `native_dropout`, which saves a mask of one byte per element."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        mask = torch.empty_like(x, dtype=torch.bool)
        y = torch.empty_like(x)
        ctx.save_for_backward(mask)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (mask,) = ctx.saved_tensors
        return gradients[0].new_empty(mask.shape)


class _FusedRMSNorm(Function):
    """Tensors of the fused kernel, which saves its input, the gain and an fp32 root per row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        y = torch.empty_like(x)
        ctx.save_for_backward(x, weight, x.new_empty(x.shape[:-1], dtype=torch.float32))
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, _ = ctx.saved_tensors
        return torch.empty_like(x), torch.empty_like(weight)


def statistics_in_fp32(func: object, result: Any) -> Any:
    """Return a norm's result with mean and deviation in fp32, as on a GPU; others unchanged."""
    if func not in _NORMS:
        return result
    y, *statistics = result
    return (y, *(found.float() for found in statistics))


def _fused_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    if q.dtype == torch.float32:
        keeps = torch.is_grad_enabled() and q.requires_grad
        made: Tensor = _ATEN._scaled_dot_product_efficient_attention(q, k, v, None, keeps)[0]
    else:
        made = _ATEN._scaled_dot_product_flash_attention(q, k, v)[0]
    return made
