"""Fused kernels of a GPU as functions of autograd, which make the same tensors on any device.

The tensors are those of `vitprof.allocation.kernels`, in the same order: what a kernel saves, its
results, and the buffers that it takes while it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from vitprof.allocation.launches import (
    Kind,
    Product,
    attention_gradient_products,
    attention_products,
)
from vitprof.cuda.attention import (
    MASK_UNIT,
    Kernel,
    backward_scratch,
    log_sum_rows,
    random_states,
)

Launched = Callable[..., None]  # takes what `unnoticed` does


def unnoticed(
    kind: Kind,
    read: Sequence[Tensor],
    written: Sequence[Tensor],
    products: tuple[Product, ...] = (),
    own: int = 0,
) -> None:
    """Take the launch of a kernel, and do nothing."""


class Attention(Function):
    """Tensors of fused attention of (B, heads, queries, d) to (B, heads, queries, d of v)."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        kernel: Kernel,
        keeps: bool,
        launched: Launched,
    ) -> Tensor:
        B, h, N, _ = q.shape
        by_tokens = kernel is Kernel.EFFICIENT
        shape = (*q.shape[:-1], v.shape[-1])
        y = _by_tokens(q, shape) if by_tokens or shape != q.shape else torch.empty_like(q)
        beside = []
        if keeps or not by_tokens:
            beside.append(q.new_empty((B, h, log_sum_rows(kernel, N)), dtype=torch.float32))
        beside += [_bytes(q, size) for size in random_states(kernel)]
        ctx.kernel, ctx.masked, ctx.launched = kernel, mask is not None, launched
        masks = [] if mask is None else [mask]
        products = attention_products(*_sizes(q, k, v))
        launched(Kind.ATTENTION, [q, k, v, *masks], [y, *beside], products)
        ctx.save_for_backward(q, k, v, *masks, y, *beside)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept = ctx.saved_tensors
        q, k, v = kept[:3]
        (B, h, N, d), kernel, bits = q.shape, ctx.kernel, 8 * q.element_size()
        sizes = backward_scratch(kernel, heads=B * h, queries=N, head_dim=d, bits=bits)
        of_mask, own = None, 0
        if kernel is Kernel.EFFICIENT:  # the gradient times the output, summed and copied
            product = q.new_empty(kept[3 + ctx.masked].shape, dtype=torch.float32)
            rows = [q.new_empty((B, h, N), dtype=torch.float32) for _ in "ab"]
            own = sum(one.nbytes for one in (product, *rows))
            del product, rows[0]
            made = [_by_tokens(one, one.shape) for one in (q, k, v)]
            if ctx.needs_input_grad[3]:
                keys = k.shape[-2]
                padded = -(-keys // MASK_UNIT) * MASK_UNIT
                of_mask = q.new_empty((B, h, N, padded))[..., :keys]
            sizes = sizes[1:]
        else:
            made = [torch.empty_like(one) for one in (q, k, v)]
        buffers = [_bytes(q, size) for size in sizes]
        del buffers
        own += sum(sizes)
        written = [*made, *([] if of_mask is None else [of_mask])]
        products = attention_gradient_products(*_sizes(q, k, v))
        ctx.launched(Kind.ATTENTION, [*gradients, *kept], written, products, own)
        return (*made, of_mask, None, None, None)


def padded_mask(mask: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """Return a mask as the memory-efficient kernel reads it (`sdp_utils.cpp`, `pad_bias`)."""
    keys = mask.shape[-1]
    aligned = mask.stride(-1) == 1 and all(stride % MASK_UNIT == 0 for stride in mask.stride()[:-1])
    if not aligned:
        mask = functional.pad(mask, (0, MASK_UNIT - keys % MASK_UNIT))[..., :keys]
    return mask.expand(*q.shape[:2], q.shape[2], k.shape[2])


class Dropout(Function):
    """Tensors of `native_dropout`, which saves a mask of one byte per element."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, launched: Launched) -> Tensor:
        mask = torch.empty_like(x, dtype=torch.bool)
        y = torch.empty_like(x)
        ctx.launched = launched
        launched(Kind.ELEMENTWISE, [x], [y, mask])
        ctx.save_for_backward(mask)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        made = gradients[0].new_empty(mask.shape)
        ctx.launched(Kind.ELEMENTWISE, [*gradients, mask], [made])
        return made, None


class RMSNorm(Function):
    """Tensors of the fused kernel, which saves its input, the gain and an fp32 root per row."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, axes: int, always: bool, launched: Launched
    ) -> Tensor:
        y = torch.empty_like(x)
        roots = x.new_empty(x.shape[: x.ndim - axes], dtype=torch.float32)
        ctx.always, ctx.weighted, ctx.launched = always, weight is not None, launched
        gains = [] if weight is None else [weight]
        launched(Kind.NORM, [x, *gains], [y, roots])
        ctx.save_for_backward(x, *gains, roots)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept = ctx.saved_tensors
        of_x = torch.empty_like(kept[0]) if ctx.always or ctx.needs_input_grad[0] else None
        of_weight = torch.empty_like(kept[1]) if ctx.weighted else None
        made = [one for one in (of_x, of_weight) if one is not None]
        ctx.launched(Kind.NORM, [*gradients, *kept], made)
        return of_x, of_weight, None, None, None


class HalfSoftmax(Function):
    """Tensors of a softmax that reads fp16 and writes fp32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, launched: Launched) -> Tensor:
        y = x.new_empty(x.shape, dtype=torch.float32)
        ctx.dtype, ctx.launched, own = x.dtype, launched, 0
        if not x.is_contiguous():
            copied = x.new_empty(x.shape)
            own = copied.nbytes
            del copied
        launched(Kind.SOFTMAX, [x], [y], (), own)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (g,) = gradients
        product = torch.empty_like(g)
        made = g.new_empty(g.shape, dtype=ctx.dtype)
        copied = None if g.is_contiguous() else g.new_empty(g.shape)
        own = product.nbytes + (0 if copied is None else copied.nbytes)
        ctx.launched(Kind.SOFTMAX, [g, *ctx.saved_tensors], [made], (), own)
        del product, copied
        return made, None


def _by_tokens(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Make a tensor (B, heads, N, d) with the strides of a contiguous (B, N, heads, d)."""
    B, h, N, d = shape
    return like.new_empty_strided((B, h, N, d), (N * h * d, d, h * d, 1))


def _sizes(q: Tensor, k: Tensor, v: Tensor) -> tuple[int, ...]:
    """Return heads of all images, queries, keys, and channels of a head of q and of v."""
    B, h, N, d = q.shape
    return B * h, N, k.shape[-2], d, v.shape[-1]


def _bytes(like: Tensor, size: int) -> Tensor:
    return like.new_empty((size,), dtype=torch.uint8)
