"""Peak memory of a real step on the CPU, from the events of PyTorch's allocator."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from vitprof.request.workload import Workload
from vitprof.running.step import Runnable, Step


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Run on one thread and without oneDNN, whose workspaces are not tensors."""
    threads, enabled = torch.get_num_threads(), torch._C._get_mkldnn_enabled()
    torch.set_num_threads(1)
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)
        torch.set_num_threads(threads)


def allocated(model: Runnable, workload: Workload) -> dict[str, int]:
    """Return the peak memory in bytes of each phase of a real step; the second of two steps."""
    gc.collect()  # otherwise tensors of an earlier step are freed during this one
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step = Step(model, workload, device="cpu")
        step()
        step(phase=record_function)
    results = recorded.profiler.kineto_results
    assert results is not None
    events = sorted(results.events(), key=lambda event: event.start_ns())
    phases = {
        event.name(): (event.start_ns(), event.start_ns() + event.duration_ns())
        for event in events
        if event.name() in ("forward", "backward", "optimizer")
    }
    held, peaks, before = 0, dict.fromkeys(phases, 0), 0
    for event in events:
        if event.name() != "[memory]":
            continue
        before, held = held, held + event.nbytes()
        for phase, (begin, end) in phases.items():
            if begin <= event.start_ns() <= end:
                peaks[phase] = max(peaks[phase], before, held)
    return {phase: peak or held for phase, peak in peaks.items()}
