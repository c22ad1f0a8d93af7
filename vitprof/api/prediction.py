"""The largest batch that fits a budget, predicted without a device: from request to report."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from vitprof.allocation.allocator import DoesNotFitError, replay
from vitprof.allocation.departures import TRACED
from vitprof.allocation.largest_batch import largest_batch
from vitprof.allocation.step import peak_bytes, peaks
from vitprof.api.memory import beside, on_gpu, trace_step
from vitprof.report.batch_size import Fit, PredictedBatch
from vitprof.version import versions

if TYPE_CHECKING:
    from vitprof.progress import Say
    from vitprof.request.workload import Workload
    from vitprof.running.trace import Trace
    from vitprof.subject import Subject


def predict(
    model: Subject, workload: Workload, budget: int, *, trace: bool = True, say: Say
) -> PredictedBatch:
    """Predict the largest batch whose step fits `budget` bytes.

    Args:
        model: what is trained or run.
        workload: how; its batch is not used.
        budget: bytes.
        trace: confirm it by tracing a step of that batch and of the next.
        say: told what is being done.
    """
    batch = largest_batch(model, workload, budget)
    traces: dict[int, Trace] = {}
    for some in (batch, batch + 1) if trace else ():
        if some:
            say(f"tracing a step of {some} on fake tensors")
            traces[some] = trace_step(model, replace(workload, batch=some))

    def fit(batch: int) -> Fit:
        own, traced = replace(workload, batch=batch), traces.get(batch)
        return Fit(
            batch=batch,
            peak_bytes=peak_bytes(model, own),
            traced_bytes=None if traced is None else traced.peak_bytes,
            agrees=None
            if traced is None
            else traced.by_phase == peaks(model, own, departures=TRACED),
            gpu=on_gpu(traced, own),
        )

    return PredictedBatch(
        spec=model.conditions(),
        workload={name: value for name, value in workload.values().items() if name != "batch"},
        versions=versions(["torch"] if trace else []),
        budget_bytes=budget,
        largest=fit(batch) if batch else None,
        next=fit(batch + 1),
        on_gpu=_largest_on_gpu(traces, workload, budget) if workload.device == "cuda" else None,
    )


def _largest_on_gpu(traces: Mapping[int, Trace], workload: Workload, budget: int) -> int | None:
    """The largest batch for which the allocator's segments and what is beside them fit.

    The size of every allocation is affine in the batch, so the traces of two batches give
    the allocations of every other one.
    """
    if len(traces) < 2 or min(traces) < 2:
        return None
    (low, lower), (_, upper) = sorted(traces.items())
    if len(lower.events) != len(upper.events):
        return None
    capacity = budget - beside(workload)

    def fits(batch: int) -> bool:
        events = (
            (number, size + (batch - low) * (larger - size))
            for (number, size), (_, larger) in zip(lower.events, upper.events, strict=True)
        )
        try:
            replay(events, capacity=capacity)
        except DoesNotFitError:
            return False
        return True

    batches = range(2, low + 1)  # at batch 1 some copies become views
    fitting = bisect_left(batches, True, key=lambda batch: not fits(batch))
    return batches[fitting - 1] if fitting else None
