"""Exact search for the sizes at which one cost is below another.

The result holds for every size of a range, but few sizes are evaluated. Over the sizes a to b,

    cost(a) <= cost <= cost(b)                        if the cost grows,
    first step <= every step <= last step             if its steps from size to size grow too,

and so on for the steps of the steps. If the upper bound of one cost is below the lower bound
of the other, it is cheaper at all these sizes; if the bounds decide neither way, the sizes are
halved, down to a single one if necessary.

A count of MACs is a polynomial in the tokens without negative terms: it, its steps and the
steps of the steps grow. A peak memory is the maximum of several such polynomials: it and its
steps grow. If something is rounded, as the patches that a masked encoder keeps, only the cost
itself grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Cost = Callable[[int], int]

Line = list[int]  # c0 + c1 t + c2 t (t - 1) / 2, t steps after the first size


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive sizes, from `first` to `last`, both included."""

    first: int
    last: int


def stretches(
    cost: Cost, other: Cost, sizes: Sequence[int], *, growing: int | None
) -> list[Stretch]:
    """Return all sizes at which `cost` is less than `other`, as the fewest stretches.

    Args:
        cost: returns the cost of a size; may be called several times for the same size.
        other: returns the cost that it is compared with.
        sizes: sizes in ascending order.
        growing: order up to which both costs are known to grow from the third size on: 0 if the
            costs never fall; 1 if their steps from size to size never fall either; 2 if the steps
            of the steps never fall either. 1 and 2 require equally spaced sizes. None if nothing
            is known, so that every size is evaluated.
    """
    found: list[tuple[int, int]] = []
    places = range(len(sizes))
    # A size of 0 selects a default, and at 1 copies become views: costs are known to grow only
    # after these, so the first two sizes are looked at alone.
    left = [part for part in (places[2:], places[1:2], places[:1]) if part]
    while left:
        part = left.pop()
        less = _less(cost, other, sizes[part.start : part.stop], growing)
        if less is None:
            middle = len(part) // 2
            left += [part[middle:], part[:middle]]
        elif less and found and found[-1][1] == part[0] - 1:
            found[-1] = (found[-1][0], part[-1])
        elif less:
            found.append((part[0], part[-1]))
    return [Stretch(sizes[first], sizes[last]) for first, last in found]


def _less(cost: Cost, other: Cost, sizes: Sequence[int], growing: int | None) -> bool | None:
    """Return True if `cost` is less at all sizes, False if at none, None if it is undecided."""
    if len(sizes) == 1:
        return cost(sizes[0]) < other(sizes[0])
    if growing is None:
        return None
    steps = len(sizes) - 1
    for order in range(min(growing, steps) + 1):
        own, others = _bounds(cost, sizes, order), _bounds(other, sizes, order)
        if own is None or others is None:
            return None
        if _least(own[1], others[0], steps) > 0:
            return True
        if _least(others[1], own[0], steps) >= 0:
            return False
    return None


def _bounds(cost: Cost, sizes: Sequence[int], order: int) -> tuple[Line, Line] | None:
    """Return the lower and the upper bound of a cost; None if its differences do not grow."""
    line = _differences([cost(size) for size in sizes[: order + 1]])
    *_, last = _differences([cost(size) for size in sizes[len(sizes) - order - 1 :]])
    return (line, [*line[:-1], last]) if line[-1] <= last else None


def _differences(costs: list[int]) -> Line:
    """Return the first cost, the first step, the first step of the steps, and so on."""
    line = []
    while costs:
        line.append(costs[0])
        costs = [after - before for before, after in pairwise(costs)]
    return line


def _least(line: Line, other: Line, steps: int) -> int:
    """Return the minimum of `other` minus `line` from the first size to `steps` steps after it."""
    level, slope, bend = [b - a for a, b in zip(line, other, strict=True)] + [0] * (3 - len(line))
    ends = [0, steps]
    if bend > 0:  # it falls as long as its next step, slope + bend t, is below 0
        ends.append(min(max(-(slope // bend), 0), steps))
    return min(level + slope * t + bend * (t * (t - 1) // 2) for t in ends)
