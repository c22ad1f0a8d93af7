"""Process that trains a traced module on a GPU: the trace's events through the caching allocator.

It is the process of `vitprof.allocation.on_gpu`, for any module. What a module's construction
frees again does not count: most modules are built in the memory of the CPU and then moved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.allocation.allocator import Block
from vitprof.allocation.on_gpu import STEPS, OnGpu, Process
from vitprof.running.step import Loss, Runnable
from vitprof.running.trace import Trace, trace

if TYPE_CHECKING:
    from vitprof.cuda.platform import Platform
    from vitprof.request.workload import Workload


def traced_on_gpu(
    model: Runnable,
    workload: Workload,
    platform: Platform,
    *,
    capacity: int | None = None,
    loss: Loss | None = None,
) -> OnGpu:
    """Predict what PyTorch allocates and reserves for a step of any module, by a trace.

    Args:
        model: model that is trained or run.
        workload: batch, dtypes, optimizer and the like; its device is a GPU.
        platform: GPU and version of PyTorch.
        capacity: bytes that may be reserved; None sets no limit.
        loss: loss of the module's output; None for that of `vitprof.running.step.Step`.

    Raises:
        DoesNotFitError: the capacity has no room for an allocation, even with caches released.
        SpecError: the module cannot be run or trained so.
    """
    traced = trace(model, workload, platform=platform, loss=loss, steps=STEPS)
    return replayed(traced, workload, platform, capacity=capacity)


def replayed(
    traced: Trace, workload: Workload, platform: Platform, *, capacity: int | None = None
) -> OnGpu:
    """Replay a trace with this platform in a process on it; see `traced_on_gpu`.

    The cache of the allocator no longer changes after two steps, so a trace has three.
    """
    process = Process(workload, platform, capacity=capacity)
    live: dict[int, Block] = {}

    def replay(begin: int, end: int) -> None:
        for number, size in traced.events[begin:end]:
            if size > 0:
                live[number] = process.allocator.allocate(size)
            else:
                process.allocator.free(live.pop(number))

    for number, size in _left(traced.events[: traced.built]):
        live[number] = process.allocator.allocate(size)
    done = traced.built
    for name, (begin, end) in sorted(traced.phases.items(), key=lambda item: item[1]):
        replay(done, begin)
        with process.phase(name):
            replay(begin, end)
        done = end
    convolutions = (one for some in traced.convolutions.values() for one in some)
    return process.found(convolutions, traced.peak_bytes)


def _left(events: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """Return the allocations that are not freed again, in order."""
    held: dict[int, int] = {}
    for number, size in events:
        if size > 0:
            held[number] = size
        else:
            del held[number]
    return [*held.items()]
