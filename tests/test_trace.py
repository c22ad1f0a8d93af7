"""The traced memory of a step against PyTorch's CPU allocator in a real one.

oneDNN is switched off in the real step, since its workspaces are no tensors. So are those
of the lambda layer's convolution, which every kernel allocates inside itself: it is traced
here, and not held against the allocator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import accumulate

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import layer_norm, scaled_dot_product_attention, softmax
from torch.profiler import ProfilerActivity, profile

from vitprof.formulas.model import Model
from vitprof.modules.card import Card, statistics_in_fp32
from vitprof.modules.step import Step
from vitprof.modules.trace import trace
from vitprof.specs import specify
from vitprof.workload import Workload

SIZES: dict[str, dict[str, object]] = {
    "mae": {
        "image_size": 24,
        "patch_size": 4,
        "dim": 24,
        "depth": 1,
        "heads": 3,
        "decoder_dim": 36,
        "decoder_depth": 1,
        "decoder_heads": 3,
    },
    "classifier": {"image_size": 20, "dim": 30, "depth": 1, "heads": 5},
    "layer": {"tokens": 37, "dim": 24, "heads": 3},
}
WORKLOADS: dict[str, dict[str, object]] = {
    "fp32": {},
    "bf16": {"dtype": "bf16"},
    "autocast": {"dtype": "bf16", "autocast": True},
    "checkpoint": {"checkpoint": True},
    "inference": {"inference": True},
    "sgd": {"optimizer": "sgd"},
    "fused": {"optimizer": "adam", "kernel": "fused"},
}


@pytest.fixture(autouse=True)
def one_thread_without_onednn() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    yield
    torch._C._set_mkldnn_enabled(enabled)
    torch.set_num_threads(threads)


def allocated(model: Model, workload: Workload) -> int:
    """The peak of a real step on the CPU, from the allocator's own events."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step = Step(model, workload, device="cpu")
        step()
        step()
    events = sorted(recorded.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    held = peak = 0
    for event in events:
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


CASES = [
    *(("layer", mixer, name) for mixer in ("attn", "fused", "linear") for name in WORKLOADS),
    *(("mae", "attn", name) for name in ("fp32", "autocast", "checkpoint")),
    *(("classifier", "linear", name) for name in ("checkpoint", "inference")),
    ("classifier", "fused", "autocast"),
    ("layer", "performer", "autocast"),
    ("layer", "xca", "bf16"),
    ("layer", "token-mlp", "fp32"),
]


@pytest.mark.parametrize(("model", "mixer", "name"), CASES)
def test_traced_peak_is_the_allocators(model: str, mixer: str, name: str) -> None:
    fused = {"fused": True} if mixer == "fused" else {}
    known = "attn" if mixer == "fused" else mixer
    spec = specify(model, mixer=known, options={**SIZES[model], **fused})
    workload = Workload(batch=3, device="cpu", **WORKLOADS[name])  # type: ignore[arg-type]
    real = allocated(spec, workload)
    assert abs(trace(spec, workload).peak_bytes - real) <= real / 1000


@pytest.mark.parametrize("mixer", ["attn", "lambda", "linear", "performer", "fourier"])
def test_events_make_the_peak(mixer: str) -> None:
    spec = specify("layer", mixer=mixer, options=SIZES["layer"])
    traced = trace(spec, Workload(batch=3))
    begun: dict[int, int] = {}
    for number, size in traced.events:
        if number in begun:
            assert begun[number] + size == 0  # it ends once, with the bytes that it began with
            begun[number] = 0
        else:
            begun[number] = size
    assert [*begun] == [*range(1, len(begun) + 1)]
    held = [*accumulate(size for _, size in traced.events)]
    assert min(held) >= 0
    assert max(held) == traced.peak_bytes == traced.by_phase[traced.phase]


def test_events_of_two_batches_pair_up() -> None:
    # So the allocations of any batch follow from those of two.
    spec = specify("layer", options=SIZES["layer"])
    two, three, seven = (trace(spec, Workload(batch=batch)).events for batch in (2, 3, 7))
    line = [
        (number, low + 5 * (high - low))
        for (number, low), (_, high) in zip(two, three, strict=True)
    ]
    assert line == [*seven]


# A card's kernels on tensors of the CPU


@pytest.mark.parametrize("on_card", [False, True])
def test_autocast_on_a_card_is_exact_where_a_cpus_is_not(on_card: bool) -> None:
    x = torch.ones(3, 5, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16), Card() if on_card else nullcontext():
        made = (softmax(x, dim=-1), layer_norm(x, (5,)), x.sum(), x.square(), x + x)
    exact = torch.float32 if on_card else torch.bfloat16
    # PyTorch's own list for a CPU has none of these.
    assert [y.dtype for y in made] == [exact] * 4 + [torch.bfloat16]
    with Card():
        assert softmax(x, dim=-1).dtype == torch.bfloat16  # outside of autocast


@pytest.mark.parametrize(
    ("dtype", "statistics"), [(torch.float32, (2, 3, 64)), (torch.bfloat16, (2, 3, 37))]
)
def test_fused_attention_of_a_card(dtype: torch.dtype, statistics: tuple[int, ...]) -> None:
    with FakeTensorMode(), Card():
        q, k, v = (torch.zeros(2, 3, 37, 8, dtype=dtype, requires_grad=True) for _ in "qkv")
        y = scaled_dot_product_attention(q, k, v)
        assert (y.shape, y.dtype) == (q.shape, dtype)
        assert y.grad_fn is not None
        name = "log_sumexp" if dtype == torch.float32 else "logsumexp"
        kept = getattr(y.grad_fn, f"_saved_{name}")
    # Efficient attention rounds 37 queries up to a multiple of 32, flash does not.
    assert (kept.shape, kept.dtype) == (statistics, torch.float32)


def test_norms_of_a_card_keep_statistics_in_fp32() -> None:
    x = torch.ones(3, 5, dtype=torch.bfloat16)
    norm = torch.ops.aten.native_layer_norm.default
    result = norm(x, (5,), None, None, 1e-6)
    assert [part.dtype for part in statistics_in_fp32(norm, result)] == [
        *(torch.bfloat16, torch.float32, torch.float32)
    ]
    assert statistics_in_fp32(torch.ops.aten.add.Tensor, result) is result
