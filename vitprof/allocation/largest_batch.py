"""Largest batch whose step fits a budget, solved for on paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import ceil
from typing import TYPE_CHECKING

from vitprof.allocation.allocator import DoesNotFitError
from vitprof.allocation.on_gpu import on_gpu
from vitprof.allocation.rules import RULES, Rule
from vitprof.allocation.step import peak_bytes
from vitprof.errors import SpecError

if TYPE_CHECKING:
    from vitprof.cuda.platform import Platform
    from vitprof.formulas.work import Work
    from vitprof.request.budget import Budget
    from vitprof.request.workload import Workload
    from vitprof.subject import Subject

MOST = 10**9 - 1


def largest_batch(
    model: Subject, workload: Workload, budget: int, *, rules: Mapping[Work, Rule] = RULES
) -> int:
    """Return the largest batch whose peak is within `budget` bytes; 0 if not even one image is.

    The bytes held at an instant are affine in the batch, so the peak, their maximum over all
    instants, is convex in it. A line through two neighbouring batches is not above a convex
    function outside them, so it meets the budget at the answer or above it. The first line
    gives an upper bound, and the lines from there on lead down to the answer.
    """

    @cache
    def peak(batch: int) -> int:
        return peak_bytes(model, replace(workload, batch=batch), rules=rules)

    if peak(2) > budget:  # at batch 1 some copies become views, so that it is not on the line
        try:
            return 1 if peak(1) <= budget else 0
        except SpecError:  # a batch norm cannot train on one value of a channel
            return 0
    batch = min(2 + (budget - peak(2)) // (peak(3) - peak(2)), MOST)
    while peak(batch) > budget:
        batch -= ceil(Fraction(peak(batch) - budget, peak(batch) - peak(batch - 1)))
    return batch


def largest_within(model: Subject, workload: Workload, budget: Budget, *, most: int = MOST) -> int:
    """Return the largest batch that fits a budget; 0 if not even one image fits.

    For a GPU, the memory of kernels, allocator and driver is included; for an amount of memory
    only the tensors of the step are.
    """
    if budget.platform is None:
        return min(largest_batch(model, workload, budget.bytes), most)
    return largest_batch_on_gpu(model, workload, budget.platform, most=most)


def largest_batch_on_gpu(
    model: Subject,
    workload: Workload,
    platform: Platform,
    *,
    most: int = MOST,
    capacity: int | None = None,
) -> int:
    """Return the largest batch that fits a GPU with all that PyTorch and the driver add.

    The formula's answer is an upper bound, from which a bracket is widened downwards and then
    bisected: if a batch fits, all smaller ones are taken to fit, to which segments make rare
    exceptions.

    Args:
        model: model that is trained or run.
        workload: dtypes, optimizer and the like; its batch and its device are not used.
        platform: GPU and version of PyTorch.
        most: cap on the batch.
        capacity: bytes that PyTorch may reserve; None for the GPU's memory without the context.

    Returns:
        The batch; 0 if not even one image fits.
    """
    room = platform.capacity if capacity is None else capacity
    workload = replace(workload, device="cuda")  # also if time is measured on the CPU

    @cache
    def fits(batch: int) -> bool:
        try:
            on_gpu(model, replace(workload, batch=batch), platform, capacity=room)
        except (DoesNotFitError, SpecError):
            return False
        return True

    high = min(largest_batch(model, workload, room), most) + 1
    low, width = high - 1, max(1, high // 64)
    while low and not fits(low):
        high, low, width = low, max(0, low - width), 2 * width
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
