"""The largest batch whose step fits a budget, solved for on paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import ceil
from typing import TYPE_CHECKING

from vitprof.allocation.rules import RULES, Rule
from vitprof.allocation.step import peak_bytes

if TYPE_CHECKING:
    from vitprof.formulas.work import Work
    from vitprof.request.workload import Workload
    from vitprof.subject import Subject

_MOST = 10**9 - 1


def largest_batch(
    model: Subject, workload: Workload, budget: int, *, rules: Mapping[Work, Rule] = RULES
) -> int:
    """The largest batch whose peak is within `budget` bytes; 0 where not even one image is.

    What is held at an instant is affine in the batch, so the peak, the most of all
    instants, is convex in it. A line through two neighbouring batches is nowhere above a
    convex function beside them: where it meets the budget is never below the answer. So the
    first line leads to the answer or above it, and others from there lead down to it.
    """

    @cache
    def peak(batch: int) -> int:
        return peak_bytes(model, replace(workload, batch=batch), rules=rules)

    if peak(2) > budget:  # at batch 1 some copies become views, which is off the line
        return 1 if peak(1) <= budget else 0
    batch = min(2 + (budget - peak(2)) // (peak(3) - peak(2)), _MOST)
    while peak(batch) > budget:
        batch -= ceil(Fraction(peak(batch) - budget, peak(batch) - peak(batch - 1)))
    return batch
