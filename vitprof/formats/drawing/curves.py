"""Curves of a sweep for text charts and figures."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby, product
from math import prod
from typing import TYPE_CHECKING

from vitprof.errors import SpecError
from vitprof.formats.drawing.scale import BYTES, COUNT, SECONDS, Unit
from vitprof.report.curves import AxisScale
from vitprof.text import visible
from vitprof.values.options import Plain, pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vitprof.report.curves import Crossover, Curves

_UNITS = {"memory": BYTES, "time": SECONDS, "gpu_time": SECONDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One measure of one mixer or preset along the swept option.

    Attributes:
        name: mixer or preset, with the other swept options that have several values.
        of: index of the mixer or preset in the sweep.
        variant: index of the combination of the other swept options' values.
        variants: number of combinations.
        points: values of the option, ascending, each with the measure; None if it has none.
        crossovers: crossovers at which the curve becomes cheaper than another.
        quartiles: lower and upper quartile of measured times, by value of the option.
        unsettled: values of the option whose time did not settle.
    """

    name: str
    of: int
    variant: int
    variants: int
    points: tuple[tuple[float, int | float | None], ...]
    crossovers: tuple[Crossover, ...]
    quartiles: Mapping[float, tuple[float, float]]
    unsettled: frozenset[float]

    @property
    def extent(self) -> list[float]:
        """Values of its points, and their quartiles."""
        return [
            *(value for _, value in self.known),
            *(end for ends in self.quartiles.values() for end in ends),
        ]

    @property
    def known(self) -> list[tuple[float, float]]:
        """Points that have a value."""
        return [(at, value) for at, value in self.points if value is not None]

    @property
    def runs(self) -> list[list[tuple[float, float]]]:
        """Points that have a value, split at points without one."""
        grouped = groupby(self.points, key=lambda point: point[1] is not None)
        return [
            [(at, value) for at, value in run if value is not None]
            for known, run in grouped
            if known
        ]


def option_of(axes: Mapping[str, Sequence[Plain]]) -> str | None:
    """Return the numeric option with the most values for the x axis; None if none has two."""
    lengths = {
        name: len({number_of(value) for value in values})
        for name, values in axes.items()
        if all(_is_number(value) for value in values)
    }
    option = max(lengths, key=lengths.__getitem__, default="")
    return option if lengths.get(option, 0) > 1 else None


def curves_of(sweep: Curves, measure: str, scale: AxisScale | None = None) -> list[Curve]:
    """Return the curves of a measure that have a point, in the order of the sweep.

    On a logarithmic scale, which has no zero, a point of value 0 counts as one without a value.

    Raises:
        SpecError: no option has two numeric values.
    """
    option = option_along(sweep.axes)
    others = {name: values for name, values in sweep.axes.items() if name != option}
    points: dict[tuple[Plain, ...], dict[float, int | float | None]] = defaultdict(dict)
    quartiles: dict[tuple[Plain, ...], dict[float, tuple[float, float]]] = defaultdict(dict)
    unsettled: dict[tuple[Plain, ...], set[float]] = defaultdict(set)
    for point in sweep.points:
        place = (point.curve, *(point.at[name] for name in others))
        at = number_of(point.at[option])
        points[place][at] = point.values.get(measure)
        if measure == "time" and point.quartiles is not None:
            quartiles[place][at] = point.quartiles
            if not sweep.settled(point):
                unsettled[place].add(at)
    crossovers: dict[tuple[Plain, ...], list[Crossover]] = defaultdict(list)
    for crossover in sweep.crossovers:
        if (crossover.measure, crossover.option) == (measure, option):
            place = (crossover.cheaper, *(crossover.fixed[name] for name in others))
            crossovers[place].append(crossover)
    variants = list(product(*others.values()))
    curves = [
        Curve(
            name=_name(name, others, values),
            of=of,
            variant=variant,
            variants=len(variants),
            points=tuple(sorted(points[name, *values].items())),
            crossovers=tuple(crossovers[name, *values]),
            quartiles=quartiles[name, *values],
            unsettled=frozenset(unsettled[name, *values]),
        )
        for of, name in enumerate(sweep.curves)
        for variant, values in enumerate(variants)
    ]
    if scale is AxisScale.LOG:
        curves = [_positive(curve) for curve in curves]
    return [curve for curve in curves if curve.known]


def _positive(curve: Curve) -> Curve:
    """Return the curve without its values of 0."""
    points = tuple((at, value if value else None) for at, value in curve.points)
    crossovers = tuple(crossover for crossover in curve.crossovers if crossover.value)
    return replace(curve, points=points, crossovers=crossovers)


def names_of_curves(sweep: Curves) -> list[str]:
    """Return the names of the curves of a sweep, as in `curves_of`, without its points."""
    option = option_along(sweep.axes)
    others = {name: values for name, values in sweep.axes.items() if name != option}
    variants = list(product(*others.values()))
    return [_name(name, others, values) for name in sweep.curves for values in variants]


def number_of_curves(axes: Mapping[str, Sequence[Plain]], curves: int) -> int:
    """Return the number of curves of a sweep with `curves` mixers or presets."""
    option = option_of(axes)
    return curves * prod(len(values) for name, values in axes.items() if name != option)


def _name(curve: str, others: Mapping[str, Sequence[Plain]], values: Sequence[Plain]) -> str:
    """Return the name of a curve, with the other swept options that have several values."""
    fixed = zip(others, values, strict=True)
    words = pairs({name: value for name, value in fixed if len(others[name]) > 1})
    return visible(f"{curve}, {words}" if words else curve)


def option_along(axes: Mapping[str, Sequence[Plain]]) -> str:
    """Return `option_of(axes)`, or raise if there is none.

    Raises:
        SpecError: no option has two numeric values.
    """
    option = option_of(axes)
    if option is None:
        given = pairs({name: values[0] for name, values in axes.items()}) or "nothing swept"
        raise SpecError(
            f"a curve needs two points, and there is one ({given}); "
            "sweep an option over two or more numbers, such as --tokens 64:4096:x2"
        )
    return option


@dataclass(frozen=True, slots=True, order=True)
class Crossing:
    """Place at which a curve comes to lie below another.

    Attributes:
        at: smallest value of the option at which it does.
        value: cost there.
        below: name of the curve.
        than: name of the other mixer or preset.
    """

    at: int
    value: int | float
    below: str
    than: str


def crossings_of(curve: Curve) -> list[Crossing]:
    """Return the places at which a curve comes to lie below another.

    A curve that is cheaper from the start of the range has none there.
    """
    first, last = curve.points[0][0], curve.points[-1][0]
    return [
        Crossing(crossover.at, crossover.value, curve.name, visible(crossover.than))
        for crossover in curve.crossovers
        if crossover.at is not None and crossover.value is not None
        if crossover.at > crossover.searched[0] and first <= crossover.at <= last
    ]


def unit_of(measure: str) -> Unit:
    """Return the unit of a measure."""
    return _UNITS.get(measure, COUNT)


def _is_number(value: Plain) -> bool:
    try:
        Fraction(value)
    except ValueError:
        return False
    return not isinstance(value, bool)


def number_of(value: Plain) -> float:
    """Return the value of a numeric option as a number."""
    return value if isinstance(value, int) else float(Fraction(value))
