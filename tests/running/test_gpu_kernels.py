"""CUDA kernels on fake tensors of the CPU: which functions they replace, and their tensors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from cases import for_each
from h100 import H100
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from vitprof.running.gpu_kernels import GpuKernels

F32 = torch.float32


def saved(y: Tensor) -> list[Tensor]:
    """Return the tensors that a function of Python has saved."""
    assert y.grad_fn is not None
    return [*y.grad_fn.saved_tensors]  # type: ignore[attr-defined]


def heads(*, dtype: torch.dtype = torch.float32, number: int = 3, keys: int = 37) -> list[Tensor]:
    shapes = [(2, 3, 37, 8), *[(2, number, keys, 8)] * 2]
    return [torch.zeros(shape, dtype=dtype, requires_grad=True) for shape in shapes]


IN_FP32: dict[str, Callable[[Tensor], Tensor]] = {
    "group_norm": lambda x: F.group_norm(x, 1),
    "layer_norm": lambda x: F.layer_norm(x, (8,)),
    "upsample": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "mse_loss": lambda x: F.mse_loss(x, x),
    "smooth_l1": lambda x: F.smooth_l1_loss(x, x),
    "log": torch.log,
    "rsqrt": torch.rsqrt,
    "reciprocal": lambda x: 1 / x,
    "power": lambda x: x**3,
    "softplus": F.softplus,
    "logsumexp": lambda x: x.logsumexp(-1),
    "norm": lambda x: x.norm(dim=-1),
    "vector_norm": torch.linalg.vector_norm,
    "cumsum": lambda x: x.cumsum(0),
    "sum": lambda x: x.sum(-1),
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
}
IN_16_BITS: dict[str, Callable[[Tensor], Tensor]] = {
    "add": lambda x: x + x,
    "gelu": F.gelu,
    "mean": lambda x: x.mean(),
    "sqrt": torch.sqrt,
    "pool": lambda x: F.avg_pool2d(x, 2),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
}


@pytest.mark.parametrize("platform", [None, H100])
@for_each("name", [*IN_FP32, *IN_16_BITS])
def test_autocast_of_a_gpu(name: str, platform: object) -> None:
    x = torch.ones(2, 3, 4, 8, dtype=torch.bfloat16)
    function = {**IN_FP32, **IN_16_BITS}[name]
    with torch.autocast("cpu", torch.bfloat16), GpuKernels(H100 if platform else None):
        y = function(x)
    assert y.dtype == (torch.float32 if name in IN_FP32 else torch.bfloat16)


@pytest.mark.parametrize("platform", [None, H100])
def test_a_mask_is_padded_and_kept(platform: object) -> None:
    """Check a learned bias of 37 keys: (1, 3, 37, 48) in memory, a view of which is saved."""
    with FakeTensorMode(), GpuKernels(H100 if platform else None):
        bias = torch.zeros(1, 3, 37, 37, requires_grad=True)
        q, k, v = heads()
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        kept = saved(y)[3] if platform else y.grad_fn._saved_attn_bias  # type: ignore[union-attr]
        assert kept.shape == (2, 3, 37, 37)
        assert kept.untyped_storage().nbytes() == 4 * 3 * 37 * 48
        torch.autograd.backward(y.sum())
        assert bias.grad is not None
        assert bias.grad.shape == bias.shape


def test_a_mask_of_truths_becomes_numbers() -> None:
    with FakeTensorMode(), GpuKernels(H100):
        mask = torch.ones(37, 37, dtype=torch.bool)
        q, k, v = heads()
        kept = saved(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))[3]
        assert (kept.dtype, kept.shape) == (torch.float32, (2, 3, 37, 37))


@pytest.mark.parametrize(
    ("dtype", "mask", "rows"),
    [(torch.float32, False, 64), (torch.bfloat16, False, 37), (torch.bfloat16, True, 64)],
)
def test_kernel_of_attention(dtype: torch.dtype, mask: bool, rows: int) -> None:
    """Check the rows of the log-sum-exp: cuDNN's 37, the efficient kernel's a multiple of 32.

    cuDNN takes no mask that is trained.
    """
    with FakeTensorMode(), GpuKernels(H100):
        q, k, v = heads(dtype=dtype)
        bias = torch.zeros(3, 37, 37, dtype=dtype, requires_grad=True) if mask else None
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        (sums,) = [one for one in saved(y) if one.dtype == torch.float32 and one.ndim == 3]
    assert sums.shape == (2, 3, rows)


@pytest.mark.parametrize("platform", [None, H100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_argument_of_attention(dtype: torch.dtype, platform: object) -> None:
    with FakeTensorMode(), GpuKernels(H100 if platform else None):
        q, k, v = heads(dtype=dtype)
        y = F.scaled_dot_product_attention(q, k, v, None, 0.125, True, scale=0.3)
        assert (y.shape, y.dtype) == (q.shape, dtype)
        q, k, v = heads(dtype=dtype, number=1, keys=5)
        grouped = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        torch.autograd.backward((y.sum() + grouped.sum()).float())
        assert k.grad is not None
        assert k.grad.shape == k.shape


def test_multi_head_attention_is_seen_within() -> None:
    """Check that the mode holds in a function of Python that calls fused attention."""
    with FakeTensorMode(), GpuKernels(H100):
        layer = nn.MultiheadAttention(24, 3, batch_first=True)
        x = torch.zeros(2, 37, 24)
        y = layer(x, x, x, need_weights=False)[0]
        names, nodes = set(), [y.grad_fn]
        while nodes:
            node = nodes.pop()
            if node is not None:
                names.add(node.name())
                nodes += [one for one, _ in node.next_functions]
    assert "AttentionBackward" in names


@pytest.mark.parametrize(("weighted", "bytes"), [(True, 5 * 4), (False, 0)])
def test_rms_norm_with_and_without_a_gain(weighted: bool, bytes: int) -> None:
    with FakeTensorMode(), GpuKernels(H100):
        norm = nn.RMSNorm(5, eps=1e-3, elementwise_affine=weighted)
        x = torch.zeros(2, 7, 5, requires_grad=True)
        y = norm(x)
        kept = [one.untyped_storage().nbytes() for one in saved(y)]
        torch.autograd.backward(y.sum())
    assert kept == [4 * 2 * 7 * 5, *([bytes] if weighted else []), 4 * 2 * 7]
    assert x.grad is not None


@pytest.mark.parametrize(
    ("rate", "training", "fused"), [(0.1, True, True), (0.0, True, False), (0.1, False, False)]
)
def test_which_dropout_is_fused(rate: float, training: bool, fused: bool) -> None:
    with FakeTensorMode(), GpuKernels(H100):
        x = torch.zeros(2, 7, requires_grad=True)
        for y in (F.dropout(x, rate, training), nn.Dropout(rate).train(training)(x)):
            named = "" if y.grad_fn is None else y.grad_fn.name()
            assert (named == "DropoutBackward") is fused
        inplace = nn.Dropout(rate, inplace=True).train(training)(x * 1)
        assert inplace.shape == x.shape


@pytest.mark.parametrize("platform", [None, H100])
def test_softmax_reads_fp16_as_it_is_on_a_named_gpu(platform: object) -> None:
    x = torch.ones(2, 5, dtype=torch.float16, requires_grad=True)
    with torch.autocast("cpu", torch.float16), GpuKernels(H100 if platform else None):
        y = F.softmax(x, -1)
    assert y.dtype == torch.float32
    assert y.grad_fn is not None
    assert y.grad_fn.name() == ("HalfSoftmaxBackward" if platform else "SoftmaxBackward0")


@pytest.mark.parametrize("contiguous", [False, True])
def test_which_linear_layer_adds_its_bias_in_place(contiguous: bool) -> None:
    told: list[bool] = []

    def in_place() -> nullcontext[None]:
        told.append(True)
        return nullcontext()

    x = torch.ones(2, 5, 3)
    with GpuKernels(H100, in_place):
        nn.Linear(5 if not contiguous else 3, 4)(x if contiguous else x.transpose(1, 2))
    assert told == ([] if contiguous else [True])


def test_arguments_by_name() -> None:
    with FakeTensorMode(), GpuKernels(H100, nullcontext[None]):
        q, k, v = heads(dtype=torch.float16)
        y = F.scaled_dot_product_attention(query=q, key=k, value=v, is_causal=True)
        y = F.rms_norm(input=y, normalized_shape=[8], weight=None, eps=1e-3)
        y = F.linear(input=y.transpose(2, 3), weight=q.new_ones(5, 37), bias=q.new_ones(5))
        y = torch.dropout(input=y, p=0.1, train=True)
        assert torch.softmax(input=y, dim=-1, dtype=torch.float32).dtype == torch.float32
        assert F.softmax(y, dim=-1).dtype == torch.float16


def test_a_softmax_asked_for_in_fp32_reads_fp16_as_it_is() -> None:
    with GpuKernels(H100):
        y = F.softmax(torch.ones(2, 5, dtype=torch.float16, requires_grad=True), -1, dtype=F32)
    assert y.grad_fn is not None
    assert y.grad_fn.name() == "HalfSoftmaxBackward"
