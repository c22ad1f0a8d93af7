"""From where on one cost lies below another: found exactly, in whole numbers.

Every size of a range is answered for, and few are looked at. Over the sizes a to b,

    cost(a) <= cost <= cost(b)                        if the cost grows,
    first step <= every step <= last step             if its steps from size to size grow too,

and so on for the steps of the steps. Where the most that one cost can be is less than the
least that the other can be, it is cheaper all the way; where neither can be said, the sizes
are halved, if need be down to a single one.

A count of multiply-accumulates is a polynomial in the tokens without negative terms: it, its
steps and theirs grow. A peak of memory is the most of several such polynomials: it and its
steps grow. Where something is rounded, as the patches that a masked encoder keeps, it grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Cost = Callable[[int], int]

Line = list[int]  # c0 + c1 t + c2 t (t - 1) / 2, t steps after the first size


@dataclass(frozen=True, slots=True)
class Stretch:
    """Sizes one after the other, from the first to the last."""

    first: int
    last: int


def stretches(
    cost: Cost, other: Cost, sizes: Sequence[int], *, growing: int | None
) -> list[Stretch]:
    """Where `cost` is less than `other`: all such sizes, in as few stretches as there are.

    Args:
        cost: what a size costs; asked several times of some sizes.
        other: what it is compared with.
        sizes: in ascending order.
        growing: what is known of both costs from the second size on: 0, they never fall; 1,
            nor do their steps from size to size; 2, nor do the steps of the steps; for 1 and 2
            the sizes are equally far apart. None, nothing is known, and all are looked at.
    """
    found: list[tuple[int, int]] = []
    places = range(len(sizes))
    # At a size of 1 copies become views, so that what grows begins at the second.
    left = [part for part in (places[1:], places[:1]) if part]
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
    """Whether `cost` is the less all the way, or nowhere; None where that is not known."""
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
    """The least and the most that a cost can be; None where it does not grow so."""
    line = _differences([cost(size) for size in sizes[: order + 1]])
    *_, last = _differences([cost(size) for size in sizes[len(sizes) - order - 1 :]])
    return (line, [*line[:-1], last]) if line[-1] <= last else None


def _differences(costs: list[int]) -> Line:
    """The first cost, the first step, the first step of the steps."""
    line = []
    while costs:
        line.append(costs[0])
        costs = [after - before for before, after in pairwise(costs)]
    return line


def _least(line: Line, other: Line, steps: int) -> int:
    """The least of `other` less `line`, from the first size to so many steps after it."""
    level, slope, bend = [b - a for a, b in zip(line, other, strict=True)] + [0] * (3 - len(line))
    ends = [0, steps]
    if bend > 0:  # it falls as long as its next step, slope + bend t, is below 0
        ends.append(min(max(-(slope // bend), 0), steps))
    return min(level + slope * t + bend * (t * (t - 1) // 2) for t in ends)
