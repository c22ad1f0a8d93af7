"""The curves of a sweep: what a chart and a figure draw, along which option, in which words."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, product
from math import prod
from typing import TYPE_CHECKING

from vitprof.errors import SpecError
from vitprof.formats.drawing.scale import BYTES, COUNT, SECONDS, Unit
from vitprof.values.options import Plain, pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vitprof.report.curves import Crossover, Curves

_UNITS = {"memory": BYTES, "time": SECONDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One measure of one mixer or preset along the swept option.

    Attributes:
        name: the mixer or preset, and the other swept options where they differ.
        of: the mixer's or preset's place among those of the sweep.
        variant: which combination of the other swept options' values it is.
        variants: how many combinations there are.
        points: the option's values, ascending, and the measure; None where it has none.
        crossovers: where it becomes cheaper than another.
    """

    name: str
    of: int
    variant: int
    variants: int
    points: tuple[tuple[float, int | float | None], ...]
    crossovers: tuple[Crossover, ...]

    @property
    def known(self) -> list[tuple[float, float]]:
        """The points that have a value."""
        return [(at, value) for at, value in self.points if value is not None]

    @property
    def runs(self) -> list[list[tuple[float, float]]]:
        """The same, apart where a point between them has no value."""
        grouped = groupby(self.points, key=lambda point: point[1] is not None)
        return [
            [(at, value) for at, value in run if value is not None]
            for known, run in grouped
            if known
        ]


def option_of(axes: Mapping[str, Sequence[Plain]]) -> str | None:
    """The option that the curves go along: the numeric one of most values, of two or more."""
    lengths = {
        name: len({_number(value) for value in values})
        for name, values in axes.items()
        if all(_is_number(value) for value in values)
    }
    option = max(lengths, key=lengths.__getitem__, default="")
    return option if lengths.get(option, 0) > 1 else None


def curves_of(sweep: Curves, measure: str) -> list[Curve]:
    """The curves of a measure, in the sweep's order; none of them without a point.

    Raises:
        SpecError: no option has two values to draw along.
    """
    option = option_along(sweep.axes)
    others = {name: values for name, values in sweep.axes.items() if name != option}
    points: dict[tuple[Plain, ...], dict[float, int | float | None]] = defaultdict(dict)
    for point in sweep.points:
        place = (point.curve, *(point.at[name] for name in others))
        points[place][_number(point.at[option])] = point.values.get(measure)
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
        )
        for of, name in enumerate(sweep.curves)
        for variant, values in enumerate(variants)
    ]
    return [curve for curve in curves if curve.known]


def number_of_curves(axes: Mapping[str, Sequence[Plain]], curves: int) -> int:
    """How many curves there are of so many mixers or presets, one option being along them."""
    option = option_of(axes)
    return curves * prod(len(values) for name, values in axes.items() if name != option)


def _name(curve: str, others: Mapping[str, Sequence[Plain]], values: Sequence[Plain]) -> str:
    """The curve's name, with the other swept options where they have several values."""
    fixed = zip(others, values, strict=True)
    told = pairs({name: value for name, value in fixed if len(others[name]) > 1})
    return f"{curve}, {told}" if told else curve


def option_along(axes: Mapping[str, Sequence[Plain]]) -> str:
    """As `option_of`, where there has to be one.

    Raises:
        SpecError: no option has two values or more that are numbers.
    """
    option = option_of(axes)
    if option is None:
        given = pairs({name: values[0] for name, values in axes.items()}) or "nothing swept"
        raise SpecError(
            f"there is no curve through one point ({given}); "
            "sweep an option over two numbers or more, such as --tokens 64:4096:x2"
        )
    return option


def crossed(curve: Curve) -> list[tuple[int, int, str]]:
    """Where the curve becomes the cheaper one: at, what it costs there, and than which.

    One that was cheaper from the low end of the range on crosses nothing.
    """
    first, last = curve.points[0][0], curve.points[-1][0]
    return [
        (crossover.at, crossover.value, crossover.than)
        for crossover in curve.crossovers
        if crossover.at is not None and crossover.value is not None
        if crossover.at > crossover.searched[0] and first <= crossover.at <= last
    ]


def unit_of(measure: str) -> Unit:
    """How a measure's numbers are written."""
    return _UNITS.get(measure, COUNT)


def _is_number(value: Plain) -> bool:
    try:
        Fraction(value)
    except ValueError:
        return False
    return not isinstance(value, bool)


def _number(value: Plain) -> float:
    return value if isinstance(value, int) else float(Fraction(value))
