"""Trace of a step on fake tensors: its events, and a GPU's kernels on CPU tensors."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import accumulate

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import dropout, layer_norm, scaled_dot_product_attention, softmax

from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.gpu_kernels import GpuKernels, statistics_in_fp32
from vitprof.running.step import Step
from vitprof.running.trace import trace

SIZES: dict[str, object] = {"tokens": 37, "dim": 24, "heads": 3}


@pytest.mark.parametrize("mixer", ["attn", "lambda", "linear", "performer", "fourier"])
def test_events_make_the_peak(mixer: str) -> None:
    spec = specify("layer", mixer=mixer, options=SIZES)
    traced = trace(spec, Workload(batch=3))
    begun: dict[int, int] = {}
    for number, size in traced.events:
        if number in begun:
            assert begun[number] + size == 0  # each allocation is freed once, with its own size
            begun[number] = 0
        else:
            begun[number] = size
    assert [*begun] == [*range(1, len(begun) + 1)]
    held = [*accumulate(size for _, size in traced.events)]
    assert min(held) >= 0
    assert max(held) == traced.peak_bytes == traced.by_phase[traced.phase]


def test_events_of_two_batches_pair_up() -> None:
    # So the allocations of any batch follow from those of two batches.
    spec = specify("layer", options=SIZES)
    two, three, seven = (trace(spec, Workload(batch=batch)).events for batch in (2, 3, 7))
    line = [
        (number, low + 5 * (high - low))
        for (number, low), (_, high) in zip(two, three, strict=True)
    ]
    assert line == [*seven]


# A GPU's kernels on CPU tensors


@pytest.mark.parametrize("on_gpu", [False, True])
def test_autocast_on_a_gpu_computes_in_float32_where_a_cpus_does_not(on_gpu: bool) -> None:
    x = torch.ones(3, 5, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16), GpuKernels() if on_gpu else nullcontext():
        made = (softmax(x, dim=-1), layer_norm(x, (5,)), x.sum(), x.square(), x + x)
    expected = torch.float32 if on_gpu else torch.bfloat16
    # The autocast list of a CPU has none of these.
    assert [y.dtype for y in made] == [expected] * 4 + [torch.bfloat16]
    with GpuKernels():
        assert softmax(x, dim=-1).dtype == torch.bfloat16  # outside of autocast


@pytest.mark.parametrize(
    ("dtype", "statistics"), [(torch.float32, (2, 3, 64)), (torch.bfloat16, (2, 3, 37))]
)
def test_fused_attention_of_a_gpu(dtype: torch.dtype, statistics: tuple[int, ...]) -> None:
    with FakeTensorMode(), GpuKernels():
        q, k, v = (torch.zeros(2, 3, 37, 8, dtype=dtype, requires_grad=True) for _ in "qkv")
        y = scaled_dot_product_attention(q, k, v)
        assert (y.shape, y.dtype) == (q.shape, dtype)
        assert y.grad_fn is not None
        name = "log_sumexp" if dtype == torch.float32 else "logsumexp"
        kept = getattr(y.grad_fn, f"_saved_{name}")
    # Efficient attention rounds 37 queries up to a multiple of 32, flash does not.
    assert (kept.shape, kept.dtype) == (statistics, torch.float32)


def test_dropout_of_a_gpu_saves_a_mask_of_bytes() -> None:
    with FakeTensorMode(), GpuKernels():
        x = torch.zeros(2, 7, 3, dtype=torch.bfloat16, requires_grad=True)
        y = dropout(x, 0.1, training=True)
        (mask,) = y.grad_fn.saved_tensors  # type: ignore[union-attr]
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        assert (mask.shape, mask.dtype) == (x.shape, torch.bool)
        assert dropout(x, 0.1, training=False) is x


def test_a_checkpointed_block_draws_the_same_numbers_again() -> None:
    spec = specify("layer", options={**SIZES, "dropout": "0.3", "drop_path": "0.4"})
    gradients = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        step = Step(spec, Workload(batch=3, device="cpu", checkpoint=checkpoint), device="cpu")
        torch.autograd.backward(step.forward())
        gradients.append([parameter.grad for parameter in step.module.parameters()])
    for kept, again in zip(*gradients, strict=True):
        assert kept is not None
        assert again is not None
        assert torch.equal(kept, again)


def test_norms_of_a_gpu_keep_statistics_in_fp32() -> None:
    x = torch.ones(3, 5, dtype=torch.bfloat16)
    norm = torch.ops.aten.native_layer_norm.default
    result = norm(x, (5,), None, None, 1e-6)
    assert [part.dtype for part in statistics_in_fp32(norm, result)] == [
        *(torch.bfloat16, torch.float32, torch.float32)
    ]
    assert statistics_in_fp32(torch.ops.aten.add.Tensor, result) is result
