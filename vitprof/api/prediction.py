"""Predict the largest batch that fits a memory budget, without a device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vitprof.allocation.departures import TRACED
from vitprof.allocation.step import peaks
from vitprof.api.memory import gpu_memory, trace_step
from vitprof.captured.subject import CapturedModel
from vitprof.cuda.attention import TooManyImagesError
from vitprof.errors import SpecError
from vitprof.report.batch_size import Fit, PredictedBatch
from vitprof.sweeps import memory as step_needs
from vitprof.version import versions

if TYPE_CHECKING:
    from vitprof.progress import Say
    from vitprof.request.budget import Budget
    from vitprof.request.workload import Workload
    from vitprof.running.trace import Trace
    from vitprof.subject import Subject


def predict(
    model: Subject, workload: Workload, budget: Budget, *, most: int, trace: bool = True, say: Say
) -> PredictedBatch:
    """Predict the largest batch whose step fits a budget.

    Args:
        model: model to run.
        workload: settings of the step; its batch is ignored.
        budget: memory, or a GPU with all that it adds.
        most: cap on the batch.
        trace: check the formula by tracing a step of that batch and of the next.
        say: called with a message on the current progress.
    """
    say("solving for the largest batch")
    batch = step_needs.largest(model, workload, budget, most=most)
    trace = trace and not isinstance(model, CapturedModel)  # it has no formula to check

    def fit(batch: int) -> Fit:
        own, traced = replace(workload, batch=batch), None
        if trace:
            say(f"tracing a step of batch {batch} on fake tensors")
            traced = trace_step(model, own)
        return Fit(
            batch=batch,
            peak_bytes=step_needs.peak(model, own),
            traced_bytes=None if traced is None else traced.peak_bytes,
            agrees=None if traced is None else agrees(traced, model, own),
            gpu=None if budget.platform is None else gpu_memory(model, own, budget.platform),
        )

    found = fit(batch) if batch else None
    following, limit = None, ""
    if batch < most:
        try:
            following = fit(batch + 1 if batch else _least(model, workload))
        except TooManyImagesError as error:
            limit = error.limit
    return PredictedBatch(
        spec=model.conditions(),
        workload={name: value for name, value in workload.values().items() if name != "batch"},
        versions=versions(["torch"] if trace else []),
        budget=budget,
        largest=found,
        next=following,
        limit=limit,
        by_tensors=step_needs.largest(model, workload, replace(budget, platform=None)),
    )


def _least(model: Subject, workload: Workload) -> int:
    """Least batch that a step can be made of: 2 if a batch norm trains on one value a channel."""
    try:
        step_needs.peak(model, replace(workload, batch=1))
    except SpecError:
        return 2
    return 1


def agrees(traced: Trace, model: Subject, workload: Workload) -> bool:
    """True if the formula, read by the rules of the trace, has its peak in each phase."""
    return traced.by_phase == peaks(model, workload, departures=TRACED)
