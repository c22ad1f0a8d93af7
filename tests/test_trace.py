"""The traced memory of a step against PyTorch's CPU allocator in a real one.

oneDNN is switched off in the real step, since its workspaces are no tensors. So are those
of the lambda layer's convolution, which every kernel allocates inside itself: it is traced
here, and not held against the allocator.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.modules.step import Step
from vitprof.modules.trace import trace
from vitprof.specs import specify
from vitprof.workload import Workload

SIZES: dict[str, dict[str, object]] = {
    "mae": {
        "image_size": 24,
        "patch_size": 4,
        "dim": 24,
        "depth": 2,
        "heads": 3,
        "decoder_dim": 36,
        "decoder_depth": 2,
        "decoder_heads": 3,
    },
    "classifier": {"image_size": 20, "dim": 30, "depth": 2, "heads": 5},
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
    *(("mae", "attn", name) for name in WORKLOADS),
    *((model, "linear", "checkpoint") for model in SIZES),
    ("classifier", "fused", "autocast"),
]


@pytest.mark.parametrize(("model", "mixer", "name"), CASES)
def test_traced_peak_is_the_allocators(model: str, mixer: str, name: str) -> None:
    fused = {"fused": True} if mixer == "fused" else {}
    known = "attn" if mixer == "fused" else mixer
    spec = specify(model, mixer=known, options={**SIZES[model], **fused})
    workload = Workload(batch=3, **WORKLOADS[name])  # type: ignore[arg-type]
    real = allocated(spec, workload)
    assert abs(trace(spec, workload).peak_bytes - real) <= real / 1000


def test_every_mixer_is_traced_in_every_model() -> None:
    for mixer in MIXERS:
        for model, sizes in SIZES.items():
            spec = specify(model, mixer=mixer, options=sizes)
            assert trace(spec, Workload(batch=2)).peak_bytes > 0
