"""The largest batch whose step fits a budget, solved from traces and confirmed by them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from vitprof.modules.trace import trace

if TYPE_CHECKING:
    from vitprof.formulas.model import Model
    from vitprof.workload import Workload

_LEFT, _RIGHT = 2, 4  # at batch 1 some reshapes become views, and the line is not met


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestBatch:
    """The largest batch that fits on paper.

    Attributes:
        batch: 0 where not even one image fits.
        peak_bytes: peak of a step at that batch; 0 where there is none.
        next_peak_bytes: peak of a step with one image more, which is over the budget.
    """

    batch: int
    peak_bytes: int
    next_peak_bytes: int


def largest_batch(model: Model, workload: Workload, budget: int) -> LargestBatch:
    """Solve for the largest batch whose traced peak is within `budget` bytes.

    Each phase's peak is affine in the batch, so two traces give it; traces at the batch
    found and at the next one confirm it, or move it by one until they do.
    """

    @cache
    def peak(batch: int) -> int:
        return trace(model, replace(workload, batch=batch)).peak_bytes if batch else 0

    left, right = (
        trace(model, replace(workload, batch=batch)).by_phase for batch in (_LEFT, _RIGHT)
    )
    batch = min(_solve(left[phase], right[phase], budget) for phase in left)
    while batch and peak(batch) > budget:
        batch -= 1
    while (beyond := peak(batch + 1)) <= budget:
        batch += 1
    return LargestBatch(batch=batch, peak_bytes=peak(batch), next_peak_bytes=beyond)


def _solve(left: int, right: int, budget: int) -> int:
    """Where the line through the two traces meets the budget; at most a billion."""
    slope = (right - left) // (_RIGHT - _LEFT)
    if slope <= 0:
        return 10**9
    return max(0, (budget - left) // slope + _LEFT)
