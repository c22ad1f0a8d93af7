"""Memory of a step of any subject: by formula for a model, by a trace for a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from vitprof.allocation.allocator import DoesNotFitError
from vitprof.allocation.largest_batch import (
    MOST,
    largest_batch,
    largest_batch_on_gpu,
    largest_within,
)
from vitprof.allocation.on_gpu import OnGpu, on_gpu
from vitprof.allocation.step import peaks
from vitprof.captured.subject import CapturedModel
from vitprof.cuda.attention import TooManyImagesError
from vitprof.errors import SpecError

if TYPE_CHECKING:
    from vitprof.cuda.platform import Platform
    from vitprof.request.budget import Budget
    from vitprof.request.workload import Workload
    from vitprof.subject import Subject

_FIRST = 8  # batch at which a module is traced first


def peak(model: Subject, workload: Workload) -> int:
    """Return the most bytes that the tensors of a step hold at once."""
    return max(by_phase(model, workload).values())


def by_phase(model: Subject, workload: Workload) -> dict[str, int]:
    """Return the most bytes that the tensors of a step hold at once, in each phase."""
    if not isinstance(model, CapturedModel):
        return peaks(model, workload)

    def traced() -> dict[str, int]:
        from vitprof.running.trace import trace

        return trace(model, workload, loss=model.loss).by_phase

    return model.known(workload, traced)


def on_platform(model: Subject, workload: Workload, platform: Platform) -> OnGpu:
    """Return what PyTorch allocates and reserves for a step on a GPU.

    If the GPU is short of memory, PyTorch's allocator releases what it has cached; a step that
    does not fit even so is predicted as on a GPU with enough memory.
    """
    workload = replace(workload, device="cuda")  # also if time is measured on the CPU
    if not isinstance(model, CapturedModel):
        try:
            return on_gpu(model, workload, platform, capacity=platform.capacity)
        except DoesNotFitError:
            return on_gpu(model, workload, platform)

    def replay() -> OnGpu:
        from vitprof.running.on_gpu import replayed
        from vitprof.running.trace import trace

        traced = trace(model, workload, platform=platform, loss=model.loss)
        try:
            return replayed(traced, workload, platform, capacity=platform.capacity)
        except DoesNotFitError:
            return replayed(traced, workload, platform)

    return model.known((workload, platform.gpu.name, platform.torch), replay)


def takes(model: Subject, workload: Workload, budget: Budget) -> int:
    """Return the bytes that a step takes of a budget: on a GPU with all that it adds."""
    if budget.platform is None:
        return peak(model, workload)
    found = on_platform(model, workload, budget.platform)
    return found.reserved + budget.platform.gpu.context_bytes


def largest(model: Subject, workload: Workload, budget: Budget, *, most: int = MOST) -> int:
    """Return the largest batch that fits a budget; 0 if not even one image fits."""
    if not isinstance(model, CapturedModel):
        return largest_within(model, workload, budget, most=most)
    return largest_traced(
        lambda batch: takes(model, replace(workload, batch=batch), budget), budget.bytes, most
    )


def largest_of_capacity(
    model: Subject, workload: Workload, capacity: int, platform: Platform | None
) -> int:
    """Return the largest batch whose step a process can run in `capacity` bytes of PyTorch's.

    Args:
        model: model that is trained or run.
        workload: settings of the step; its batch is ignored.
        capacity: bytes that PyTorch may reserve, or that tensors may take without a platform.
        platform: GPU and version of PyTorch; None for a device whose kernels are not known.
    """
    if not isinstance(model, CapturedModel):
        if platform is None:
            return largest_batch(model, workload, capacity)
        return largest_batch_on_gpu(model, workload, platform, capacity=capacity)

    def need(batch: int) -> int:
        own = replace(workload, batch=batch)
        return peak(model, own) if platform is None else on_platform(model, own, platform).reserved

    return largest_traced(need, capacity, MOST)


def largest_traced(need: Callable[[int], int], budget: int, most: int) -> int:
    """Return the largest batch whose need is within a budget, by few evaluations.

    What a step needs is nearly affine in the batch, so that the line through the nearest two
    known batches leads to the answer; if a batch fits, all smaller ones are taken to fit.

    Args:
        need: returns the bytes of a batch; raises SpecError if it cannot be run.
        budget: bytes.
        most: cap on the batch.
    """

    @cache
    def known(batch: int) -> int:
        try:
            return need(batch)
        except SpecError:
            if batch > 1:  # a single image may be too few for a batch norm
                raise
            return budget + 1

    low, high = 0, most + 1
    points: dict[int, int] = {}
    halves = False  # a kernel does not take so many images, of which the line knows nothing

    def note(batch: int) -> None:
        nonlocal low, high, halves
        try:
            points[batch] = known(batch)
        except TooManyImagesError:
            high, halves = batch, True
            return
        if points[batch] <= budget:
            low = max(low, batch)
        else:
            high = min(high, batch)

    for batch in (_FIRST, 2 * _FIRST):
        if low < batch < high:
            note(batch)
    while high - low > 1:
        guess = (low + (high if halves else min(high, 2 * max(low, 1) + 1))) // 2
        nearest = sorted(points, key=lambda batch: abs(points[batch] - budget))[:2]
        if len(nearest) == 2 and not halves:
            one, other = nearest
            slope = (points[one] - points[other]) // (one - other)
            if slope > 0:
                guess = one + (budget - points[one]) // slope
        # A guess at a known end tries the batch beside it.
        note(min(max(guess, low + 1), high - 1))
    return low
