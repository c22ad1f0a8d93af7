"""Process of a trial: real steps of a model on a batch, their peak memory and time.

`python -m vitprof.running.trial` reads a request from stdin; `vitprof.measuring.trials` runs it.

The peak on a CPU is the most that PyTorch's allocator held at once, by the allocator's events
as torch.profiler records them. On a GPU it is the most that the allocator had reserved.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch._C._profiler import _ExtraFields_Allocation
from torch.profiler import ProfilerActivity, profile

from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.plugins import explain
from vitprof.measuring.trials import FAILED, RAN, TOO_LARGE
from vitprof.request.specs import subject
from vitprof.request.workload import Workload
from vitprof.running.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable

# Memory beside the tensors: the profiler's records, and allocations of libraries. The limit on
# the process is above the budget by this much; the peak alone decides if a batch fits.
_BESIDE_BYTES = 512 * 1024**2
_STATUS = Path("/proc/self/status")
_OUT_OF_MEMORY_SIGNS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DEVICE_ALLOCATION_FAILED",
    "HOST_ALLOCATION_FAILED",
    "std::bad_alloc",
)
# A kernel cannot be launched for so many images, such as one of fused attention above 65,535.
_TOO_MANY_SIGNS = (
    "CUDA error: invalid configuration argument",
    "the batch size exceeds (65535)",
)


def main() -> int:
    """Answer the request on stdin; return the exit code.

    What code of others prints, now or at exit, goes to stderr: the answer is alone on stdout.
    """
    sys.stdout.flush()
    stdout = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    request = json.load(sys.stdin)
    Thread(target=_end_with, args=(request["lifeline"],), daemon=True).start()
    with suppress(OSError):  # if the machine runs out of memory, this process is killed first
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        answer: dict[str, object] = probe() if request["task"] == "probe" else trial(request)
        code = RAN
    except (Exception, SystemExit) as error:
        answer = {"error": explain(error, MIXERS.values()) or f"{type(error).__name__}: {error}"}
        code = TOO_LARGE if is_too_large(error) else FAILED
    with os.fdopen(stdout, "w") as file:
        file.write(f"{json.dumps(answer)}\n")
    return code


def probe() -> dict[str, object]:
    """Return the GPU's name, and the bytes that are free beside the context of a process."""
    if not torch.cuda.is_available():
        return {"name": "", "memory_bytes": 0}
    free, _ = torch.cuda.mem_get_info()
    return {"name": torch.cuda.get_device_name(), "memory_bytes": free}


def trial(request: dict[str, Any]) -> dict[str, object]:
    """Build the model and run two steps; the optimizer's state exists from the first on."""
    options = dict(request["spec"])
    model, _ = subject(
        options.pop("model", None), mixer=options.pop("mixer", None), options=options
    )
    workload = Workload(**request["workload"])
    device = request["device"]

    def steps() -> float:
        step = Step(model, workload, device=device)
        step()
        begin = _now(device)
        step()
        return _now(device) - begin

    _warm_up(device)
    measure = _on_cuda if device == "cuda" else _on_cpu
    peak_bytes, seconds = measure(steps, request["limit_bytes"])
    return {"peak_bytes": peak_bytes, "seconds": seconds}


def is_too_large(error: BaseException) -> bool:
    """Return True if a batch is too large, for the memory or for a kernel, by PyTorch's errors."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    signs = (*_OUT_OF_MEMORY_SIGNS, *_TOO_MANY_SIGNS)
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def _on_cpu(steps: Callable[[], float], limit_bytes: int | None) -> tuple[int, float]:
    profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    profiler.start()
    try:
        with _limited(limit_bytes):
            seconds = steps()
    finally:
        profiler.stop()
    return _peak(profiler), seconds


def _peak(profiler: profile) -> int:
    """Return the most bytes that were allocated at once."""
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events = list(profiler.profiler.kineto_results.experimental_event_tree())
    peak = 0
    while events:
        event = events.pop()
        events += event.children
        if isinstance(event.extra_fields, _ExtraFields_Allocation):
            peak = max(peak, event.extra_fields.total_allocated)
    return peak


def _on_cuda(steps: Callable[[], float], limit_bytes: int | None) -> tuple[int, float]:
    if limit_bytes is not None:
        _, total = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total))
    seconds = steps()
    return torch.cuda.max_memory_reserved(), seconds


@contextmanager
def _limited(limit_bytes: int | None) -> Iterator[None]:
    """Keep this process from taking far more than the limit, if the system supports that."""
    if limit_bytes is None or not _STATUS.exists():
        yield
        return
    held = re.search(r"VmData:\s*([0-9]+) kB", _STATUS.read_text())
    assert held is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = int(held[1]) * 1024 + limit_bytes + _BESIDE_BYTES
    resource.setrlimit(
        resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _warm_up(device: str) -> None:
    """Create threads and library handles before anything is limited or measured."""
    weights = torch.ones(64, 64, device=device, requires_grad=True)
    torch.autograd.backward((weights @ weights).sum())
    _now(device)


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def _end_with(lifeline: int) -> None:
    """End this process when the one with the pipe's other end ends."""
    os.read(lifeline, 1)
    os._exit(FAILED)


if __name__ == "__main__":
    sys.exit(main())
