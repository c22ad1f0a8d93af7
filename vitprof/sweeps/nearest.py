"""Exact search for the sizes at which a cost is nearest to a target.

Parameters and MACs are evaluated at every combination of sizes, as arrays. Another cost is
evaluated at single combinations. Along an option with which it is known to grow, or to fall, the
sizes nearest to the target stand on both sides of the place where it is crossed, which is bisected
for; without such an option every combination is evaluated. So the result holds for every
combination of a range, whichever way it is found.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import merge
from itertools import islice, product
from math import isqrt, prod
from operator import eq, gt, lt
from typing import TYPE_CHECKING, Any

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.subject import Configurable
from vitprof.sweeps.axis import Axis, Number
from vitprof.sweeps.points import Place
from vitprof.values.options import Option, Whole

if TYPE_CHECKING:
    from vitprof.sweeps.arrays import Counts

MOST_COMBINATIONS = 5_000_000  # about a second, and 100 MB
_ALONE = 2  # first sizes after which alone a cost is known to grow: see `stretches`


@dataclass(frozen=True, slots=True)
class Near:
    """A combination of sizes.

    Attributes:
        place: value of each varied option, in the order in which they are varied.
        cost: its cost.
    """

    place: Place
    cost: int


@dataclass(frozen=True, slots=True)
class Nearest:
    """The combinations whose cost is nearest to a target.

    Of equal distances, a lower cost comes first, then the larger sizes.

    Attributes:
        target: the target.
        exact: combinations that cost exactly the target, at most as many as were asked for.
        below: combinations that cost less, the nearest first; as many at most.
        above: combinations that cost more, the nearest first; as many at most.
        number: number of all combinations that cost exactly the target.
        admitted: number of all combinations that the rules admit.
        idle: varied options that the cost does not depend on.
    """

    target: int
    exact: tuple[Near, ...]
    below: tuple[Near, ...]
    above: tuple[Near, ...]
    number: int
    admitted: int
    idle: tuple[str, ...]

    def order(self, near: Near) -> tuple[object, ...]:
        """Return the key by which combinations are sorted."""
        return _order(self.target)(near)


@dataclass(frozen=True, slots=True)
class Space:
    """Combinations of sizes of a model.

    Attributes:
        model: a model, whose values are used for the options that are not varied.
        axes: values of each varied option.
        ties: for an option whose heads follow it, the name of the heads and the channels of a
            head; see `following`.
    """

    model: Configurable
    axes: tuple[Axis, ...]
    ties: Mapping[str, tuple[str, int]]

    def full(self, place: Mapping[str, Number]) -> Place:
        """Return the values of a place with those that follow from them."""
        heads = {
            name: int(place[option]) // channels
            for option, (name, channels) in self.ties.items()
            if option in place
        }
        return {**place, **heads}

    def at(self, place: Mapping[str, Number]) -> Configurable:
        """Return the model at a place.

        Raises:
            SpecError: its rules do not admit the place.
        """
        return self.model.at(self.full(place))

    @property
    def size(self) -> int:
        """Number of combinations, admitted or not."""
        return prod(len(axis.values) for axis in self.axes)

    def grids(
        self, measure: Measure, batch: int
    ) -> Iterator[tuple[Place, tuple[Axis, ...], Counts]]:
        """Yield the counts over the axes that nothing follows, for each place on the others."""
        from vitprof.sweeps.arrays import counts

        tied = [axis for axis in self.axes if axis.name in self.ties]
        free = tuple(axis for axis in self.axes if axis.name not in self.ties)
        given: dict[str, object] = {axis.name: axis.values for axis in free}
        for values in product(*(axis.values for axis in tied)):
            place: Place = dict(zip((axis.name for axis in tied), values, strict=True))
            model = self.model.placed(self.full(place)) if place else self.model
            found = counts(model, {**given, "batch": batch}, measure)
            yield place, free, found[..., 0]

    def ordered(self, place: Mapping[str, Number]) -> Place:
        """Return the values of a place in the order of the axes."""
        return {axis.name: place[axis.name] for axis in self.axes}


def nearest_count(space: Space, measure: Measure, batch: int, target: int, most: int) -> Nearest:
    """Find the combinations whose count is nearest to a target.

    Args:
        space: the combinations.
        measure: parameters or MACs.
        batch: images of a forward pass.
        target: the count to come near to.
        most: number of combinations to return on each side.
    """
    import numpy as np

    from vitprof.sweeps.integers import FITS

    sides: dict[str, list[Near]] = {"exact": [], "below": [], "above": []}
    number = admitted = 0
    of_tied: set[int] = set()
    moved: set[str] = set()
    for fixed, free, grid in space.grids(measure, batch):
        places = np.flatnonzero(~np.ma.getmaskarray(grid).ravel())
        amounts = grid.data.ravel()[places]
        if target >= FITS:
            amounts = amounts.astype(object)
        admitted += len(places)
        number += int(np.count_nonzero(amounts == target))
        of_tied |= {int(amounts[0])} if len(places) and fixed else set()
        moved |= {axis.name for n, axis in enumerate(free) if _moves(grid, n)}
        shape = tuple(len(axis.values) for axis in free)
        for name, on_side in {
            "exact": amounts == target,
            "below": amounts < target,
            "above": amounts > target,
        }.items():
            own = np.flatnonzero(on_side)
            for one in _smallest(abs(amounts[own] - target), most):
                which = np.unravel_index(places[own[one]], shape) if shape else ()
                values = {
                    axis.name: axis.values[int(n)] for axis, n in zip(free, which, strict=True)
                }
                place = space.ordered({**fixed, **values})
                sides[name].append(Near(place, int(amounts[own[one]])))
        for name, found in sides.items():
            sides[name] = sorted(found, key=_order(target))[:most]
    moved |= {name for name in space.ties if len(of_tied) > 1}
    return Nearest(
        target=target,
        **{name: tuple(found) for name, found in sides.items()},
        number=number,
        admitted=admitted,
        idle=tuple(
            axis.name for axis in space.axes if len(axis.values) > 1 and axis.name not in moved
        ),
    )


def _moves(grid: Counts, axis: int) -> bool:
    """Return True if the counts change along an axis; those that are not defined are ignored."""
    import numpy as np

    undefined = np.ma.getmaskarray(grid)
    most = grid.data.max()
    low = np.where(undefined, most, grid.data).min(axis=axis)
    high = np.where(undefined, 0, grid.data).max(axis=axis)
    return bool((high > low).any())


def _smallest(amounts: Any, most: int) -> list[int]:
    """Return the places of the smallest amounts; of equal ones, the last."""
    import numpy as np

    if len(amounts) <= most:
        return list(range(len(amounts)))
    bound = np.partition(amounts, most - 1)[most - 1]
    less = np.flatnonzero(amounts < bound).tolist()
    equal = np.flatnonzero(amounts == bound).tolist()
    return [*less, *equal[len(less) - most :]]


def _order(target: int) -> Callable[[Near], tuple[object, ...]]:
    return lambda near: (
        abs(near.cost - target),
        near.cost > target,
        tuple(-value for value in near.place.values()),
    )


Cost = Callable[[Place], int]


def nearest_cost(
    space: Space,
    cost: Cost,
    target: int,
    most: int,
    *,
    trend: int,
    check: Callable[[int], None],
) -> Nearest:
    """Find the combinations whose cost is nearest to a target.

    Args:
        space: the combinations.
        cost: returns the cost of a place; raises SpecError if a step cannot be run there.
        target: the cost to come near to.
        most: number of combinations to return on each side.
        trend: 1 if the cost grows with every option that is declared to, -1 if it falls, 0 if
            nothing is known.
        check: called with the number of evaluations at most before the first; may raise.

    Raises:
        SpecError: a step can be run at none of the combinations.
    """
    lines = [*_lines(space, ordered=trend != 0)]
    check(sum(line.evaluations for line in lines))
    runs = [_Run(space, line, cost, target, trend) for line in lines]
    admitted = sum(run.drop_refused() for run in runs)
    if not admitted:
        raise next(run.refusal for run in runs if run.refusal is not None)
    order = _order(target)
    sides = {
        name: tuple(islice(merge(*(run.side(name) for run in runs), key=order), most))
        for name in ("exact", "below", "above")
    }
    return Nearest(
        target=target,
        **sides,
        number=sum(run.number for run in runs),
        admitted=admitted,
        idle=_idle(runs),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """Places that differ in one option, in ascending order.

    Attributes:
        fixed: values of the other options.
        option: the option.
        values: its values.
        ordered: True if the cost is known to grow, or to fall, along them.
    """

    fixed: Place
    option: str
    values: tuple[Number, ...]
    ordered: bool

    @property
    def evaluations(self) -> int:
        """Number of evaluations that find the place of a target, at most."""
        number = len(self.values)
        return min(number, 2 * number.bit_length() + 2) if self.ordered else number


def _lines(space: Space, *, ordered: bool) -> Iterator[_Line]:
    """Yield the admitted places in lines, along the longest axis with which costs grow if any."""
    import numpy as np

    options = space.model.options()
    for fixed, free, grid in space.grids(Measure.PARAMS, 1):
        if not free:
            name, *_ = fixed
            admitted = not np.ma.getmaskarray(grid).any()
            if admitted:
                rest = {option: value for option, value in fixed.items() if option != name}
                yield _Line(rest, name, (fixed[name],), ordered=False)
            continue
        known = [ordered and _grows(options[axis.name]) for axis in free]
        along = max(range(len(free)), key=lambda n: (known[n], len(free[n].values)))
        axis, others = free[along], [*free[:along], *free[along + 1 :]]
        holds = np.moveaxis(~np.ma.getmaskarray(grid), along, -1)
        for which in np.ndindex(holds.shape[:-1]):
            place = {one.name: one.values[n] for one, n in zip(others, which, strict=True)}
            values = tuple(axis.values[n] for n in np.flatnonzero(holds[which]))
            for part, alike in _alike(values, options[axis.name], ordered=known[along]):
                yield _Line({**fixed, **place}, axis.name, part, ordered=alike)


def _grows(option: Option) -> bool:
    return isinstance(option, Whole) and option.grows > 0


def _alike(
    values: tuple[Number, ...], option: Option, *, ordered: bool
) -> Iterator[tuple[tuple[Number, ...], bool]]:
    """Yield the parts of an option's values along which a cost is known to grow, or not.

    A square number of tokens has a grid, on which a mixer may have another formula.
    """
    if not ordered:
        yield values, False
        return
    yield values[:_ALONE], False
    rest = values[_ALONE:]
    squares = tuple(n for n in rest if isqrt(int(n)) ** 2 == n)
    if isinstance(option, Whole) and option.unit == "tokens" and squares:
        grids = {*squares}
        yield squares, True
        yield tuple(n for n in rest if n not in grids), True
    else:
        yield rest, True


class _Run:
    """Evaluation of a line: each place once, and only where it is needed."""

    def __init__(self, space: Space, line: _Line, cost: Cost, target: int, trend: int) -> None:
        self.space, self.line, self.target = space, line, target
        self.values = line.values
        self.sign = trend if line.ordered else 1
        self.refusal: SpecError | None = None
        self.cost = cache(lambda value: cost(space.ordered({**line.fixed, line.option: value})))

    def drop_refused(self) -> int:
        """Leave out the values at which a step cannot be run; return the number of the others.

        Too few values for a batch norm are too few at the smallest sizes only, so that along
        an ordered line the first value that can be run is followed by such values.
        """
        if not self.line.ordered:
            self.values = tuple(value for value in self.values if self._runs(value))
            return len(self.values)
        while self.values and not self._runs(self.values[0]):
            self.values = self.values[1:]
        return len(self.values)

    def _runs(self, value: Number) -> bool:
        try:
            self.cost(value)
        except SpecError as error:
            self.refusal = error
            return False
        return True

    def _rising(self, value: Number) -> int:
        return self.sign * self.cost(value)

    @property
    def _ends(self) -> tuple[int, int]:
        """Places of the first value that costs the target or more, and of the first after those.

        If the cost falls, of those that cost the target or less.
        """
        target = self.sign * self.target
        first = bisect_left(self.values, target, key=self._rising)
        return first, bisect_right(self.values, target, lo=first, key=self._rising)

    @property
    def number(self) -> int:
        """Number of places that cost exactly the target."""
        if not self.line.ordered:
            return sum(self.cost(value) == self.target for value in self.values)
        first, end = self._ends
        return end - first

    @property
    def extremes(self) -> set[int]:
        """Costs that are all the same if the cost is the same at all values."""
        ends = (*self.values[:1], *self.values[-1:]) if self.line.ordered else self.values
        return {self.cost(value) for value in ends}

    def side(self, name: str) -> Iterator[Near]:
        """Yield the places that cost less, more or exactly the target, the nearest first."""
        if not self.line.ordered:
            compare = {"exact": eq, "below": lt, "above": gt}[name]
            found = (self._near(one) for one in self.values if compare(self.cost(one), self.target))
            yield from sorted(found, key=_order(self.target))
            return
        first, end = self._ends
        if name == "exact":
            yield from map(self._near, reversed(self.values[first:end]))
        elif (name == "below") == (self.sign > 0):
            yield from map(self._near, reversed(self.values[:first]))
        else:
            while end < len(self.values):
                first, end = end, self._end_of_equal(end)
                yield from map(self._near, reversed(self.values[first:end]))

    def _end_of_equal(self, first: int) -> int:
        """Return the place after the values that cost the same as the one at `first`."""
        amount, step = self._rising(self.values[first]), 1
        while first + step < len(self.values) and (
            self._rising(self.values[first + step]) == amount
        ):
            step *= 2
        high = min(first + step, len(self.values))
        return bisect_right(self.values, amount, lo=first, hi=high, key=self._rising)

    def _near(self, value: Number) -> Near:
        place = self.space.ordered({**self.line.fixed, self.line.option: value})
        return Near(place, self.cost(value))


def _idle(runs: Sequence[_Run]) -> tuple[str, ...]:
    """Return the options along which the cost is known not to change."""
    costs: dict[tuple[str, tuple[tuple[str, Number], ...]], set[int]] = {}
    sizes: dict[str, int] = {}
    for run in runs:
        place = run.line.option, tuple(run.line.fixed.items())
        costs.setdefault(place, set()).update(run.extremes)
        sizes[run.line.option] = sizes.get(run.line.option, 0) + len(run.values)
    moved = {option for (option, _), own in costs.items() if len(own) > 1}
    places = [option for option, _ in costs]
    return tuple(
        option for option in sizes if option not in moved and sizes[option] > places.count(option)
    )
