"""Attention in one kernel, which depends on the device and the dtype."""

from __future__ import annotations

from vitprof.allocation.autograd import Node, Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.views import Grads, permuted
from vitprof.allocation.launches import Kind as Work
from vitprof.allocation.launches import attention_gradient_products, attention_products
from vitprof.allocation.strides import Ints
from vitprof.allocation.timeline import BYTES
from vitprof.cuda.attention import (
    Kernel,
    backward_scratch,
    check_images,
    kernel_of,
    log_sum_rows,
    random_states,
)
from vitprof.cuda.platform import Platform
from vitprof.formulas.op import Shape
from vitprof.values.size import Size

_COLUMNS = 512  # keys per tile of the CPU's kernel


def fused_attention(m: Eager, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Follow fused attention of (B, heads, queries, d) to (B, heads, keys, d).

    It saves its inputs, its output and a log-sum-exp per query, and random states on a GPU.
    """
    if m.on_gpu:
        q, k, v = m.to_autocast_dtype(q), m.to_autocast_dtype(k), m.to_autocast_dtype(v)
    else:
        v, k, q = m.to_autocast_dtype(v), m.to_autocast_dtype(k), m.to_autocast_dtype(q)
    node = m.node(q, k, v)
    m.save(node, q, k, v)
    m.contract_fused(node)
    if not m.on_gpu:
        return _on_cpu(m, node, q, k, v)
    if m.platform is not None:
        return _on(m.platform, m, node, q, k, v)
    return (_efficient if q.dtype == "fp32" else _flash)(m, node, q, k, v)


def _on_cpu(m: Eager, node: Node | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Follow the flash kernel of a CPU."""
    y, log_sum = m.like(q), m.new(q.sizes[:-1], "fp32")
    rows, columns, d = _tile(q.shape[-2]), min(_COLUMNS, k.shape[-2]), q.shape[-1]
    small = q.dtype != "fp32"
    tile = [4 * rows * (columns + 2 + d), *[2 * rows * columns] * small]
    m.free(y, log_sum, *m.buffers(*tile))
    m.save(node, y, log_sum)
    shapes = (q.sizes, k.sizes, v.sizes)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        made = [_by_tokens(m, sizes, grads[0].dtype) for sizes in shapes]
        copies = m.copies(permuted(m, grads[0], (0, 2, 1, 3)))
        tiles = [2 * 4 * rows * columns, *[2 * 2 * rows * columns] * small, 4 * rows]
        m.free(*made, *copies, *m.buffers(*tiles))
        return made

    return m.made(y, node, (q, k, v), back)


def _tile(queries: int) -> int:
    """Return queries per tile of the CPU's kernel (FlashAttentionKernel.cpp)."""
    return min(queries, 256 if queries >= 768 else 64 if queries >= 192 else 32)


def _efficient(m: Eager, node: Node | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Follow the memory-efficient kernel: rows of the log-sum-exp are a multiple of 32."""
    y = _by_tokens(m, q.sizes, q.dtype)
    queries = (q.sizes[-2] + 31) // 32 * 32
    beside = [m.new((*q.sizes[:-2], queries), "fp32")] if node is not None else []
    beside += [m.new((), "int64"), m.new((), "int64")]
    m.free(y, *beside)
    m.save(node, y, *beside)
    shapes = (q.sizes, k.sizes, v.sizes)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [_by_tokens(m, sizes, grads[0].dtype) for sizes in shapes]

    return m.made(y, node, (q, k, v), back)


def _flash(m: Eager, node: Node | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Follow the flash kernel, for elements of two bytes."""
    y = m.like(q)
    beside = [m.new(q.sizes[:-1], "fp32"), m.new((Size(2),), "int64"), m.new((), "int64")]
    m.free(y, *beside)
    m.save(node, y, *beside)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [m.like(one) for one in saved[:3]]

    return m.made(y, node, (q, k, v), back)


def _on(platform: Platform, m: Eager, node: Node | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Follow the kernel that a named GPU runs, with its own memory."""
    B, h, N, d = q.shape
    bits = 8 * BYTES[q.dtype]
    kernel = kernel_of(platform, bits=bits, head_dim=d)
    check_images(kernel, platform, B)
    by_tokens = kernel is Kernel.EFFICIENT
    y = _by_tokens(m, q.sizes, q.dtype) if by_tokens else m.like(q)
    rows = log_sum_rows(kernel, N)
    keeps = node is not None or not by_tokens
    log_sum = [m.new((*q.sizes[:2], Size(rows)), "fp32")] if keeps else []
    states = [m.new((Size(size),), "bool") for size in random_states(kernel)]
    sizes = (B * h, N, k.shape[-2], d, v.shape[-1])
    products = attention_products(*sizes)
    m.launch(Work.ATTENTION, (q, k, v), (y, *log_sum, *states), products=products)
    m.free(y, *log_sum, *states)
    m.save(node, y, *log_sum, *states)
    shapes = (q.sizes, k.sizes, v.sizes)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        dtype = grads[0].dtype
        delta = []
        if by_tokens:  # the gradient times the output, summed along the head dim and copied
            product = m.new(q.sizes, "fp32")
            delta = [m.new(q.sizes[:-1], "fp32"), m.new(q.sizes[:-1], "fp32")]
            m.free(product, delta[0])
            delta.append(product)
            made = [_by_tokens(m, sizes, dtype) for sizes in shapes]
        else:
            made = [m.like(one) for one in saved[:3]]
        scratch = backward_scratch(kernel, heads=B * h, queries=N, head_dim=d, bits=bits)
        own = [m.new((Size(size),), "bool") for size in (scratch[1:] if by_tokens else scratch)]
        again = attention_gradient_products(*sizes)
        read = (*grads, *saved)
        m.launch(Work.ATTENTION, read, made, products=again, own=(*delta, *own))
        m.free(*made, *delta[1:2], *own)
        return made

    return m.made(y, node, (q, k, v), back)


def _by_tokens(m: Eager, sizes: Shape, dtype: str) -> Tensor:
    """Allocate a tensor (B, heads, N, d) with the strides of a contiguous (B, N, heads, d)."""
    _, h, N, d = sizes
    strides: Ints = (N.value * h.value * d.value, d.value, h.value * d.value, 1)
    return m.new(sizes, dtype, strides)
