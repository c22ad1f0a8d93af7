"""The largest batch whose step fits a budget, solved from traces and confirmed by them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from vitprof.batch_size.search import Trial, search
from vitprof.modules.trace import trace

if TYPE_CHECKING:
    from vitprof.formulas.model import Model
    from vitprof.workload import Workload

_LEFT, _RIGHT = 2, 4  # at batch 1 some reshapes become views, and the line is not met
_MOST = 10**9 - 1


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

    Each phase's peak is affine in the batch, so two traces give it. The batch found is
    traced, and so is the next one; where the line was met by small sizes only roughly, a
    few more traces bracket the answer.
    """

    @cache
    def peak(batch: int) -> int:
        return trace(model, replace(workload, batch=batch)).peak_bytes

    left, right = (
        trace(model, replace(workload, batch=batch)).by_phase for batch in (_LEFT, _RIGHT)
    )
    found = search(
        lambda batch: Trial(batch=batch, fits=peak(batch) <= budget, peak_bytes=peak(batch)),
        strategy="predict",
        start=max(1, min(_solve(left[phase], right[phase], budget) for phase in left)),
        most=_MOST,
        budget_bytes=budget,
        tell=lambda trial: None,
    )
    if not found.complete:  # a search keeps what it found; a prediction is whole or not there
        raise KeyboardInterrupt
    batch = found.largest or 0
    return LargestBatch(
        batch=batch, peak_bytes=peak(batch) if batch else 0, next_peak_bytes=peak(batch + 1)
    )


def _solve(left: int, right: int, budget: int) -> int:
    """Where the line through the two traces meets the budget."""
    rise = right - left
    return (budget - left) * (_RIGHT - _LEFT) // rise + _LEFT if rise > 0 else _MOST
