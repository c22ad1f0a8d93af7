"""Scales and ticks of the axes of text charts and figures.

Unless the user says, an axis is logarithmic if its values are all positive and the largest is more
than 30 times the smallest, or if an option was swept by a factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from math import ceil, floor, isclose, log, log2, log10

from vitprof.report.curves import AxisScale

LOG_FROM = 30
ZERO_FROM = 2  # a linear axis begins at zero if largest / smallest is above this
_MARGIN = 0.05  # share of an axis beyond its first and last value
_FEWEST = 3  # labelled ticks
_THIN_FROM = 3  # ticks are round numbers if there are this many times more values than room


@dataclass(frozen=True, slots=True)
class Unit:
    """Unit of the numbers on an axis.

    Attributes:
        base: ratio of successive prefixes, 1,000 or 1,024.
        names: names of the unit with prefixes from 1 upwards.
        smaller: names of the unit with prefixes from 1 / `base` downwards.
    """

    base: int
    names: tuple[str, ...]
    smaller: tuple[str, ...] = ()

    def show(self, value: float) -> str:
        """Return the number with its unit: `64 MiB`, `1.5 G`, `20 ms`, `402`."""
        power, left = 0, value
        while abs(left) >= self.base and power + 1 < len(self.names):
            power, left = power + 1, left / self.base
        while 0 < abs(left) < 1 and -power < len(self.smaller):
            power, left = power - 1, left * self.base
        name = self.names[power] if power >= 0 else self.smaller[-power - 1]
        return f"{left:.4g} {name if value else self.names[0]}".rstrip()


COUNT = Unit(1000, ("", "k", "M", "G", "T", "P", "E"))
BYTES = Unit(1024, ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
SECONDS = Unit(1000, ("s",), ("ms", "µs", "ns"))


@dataclass(frozen=True, slots=True)
class Scale:
    """Scale of an axis.

    Attributes:
        logarithmic: True for a logarithmic scale, False for a linear one.
        low: value at the start of the axis.
        high: value at the end of the axis.
        ticks: labels of the major ticks, by value.
        minor: values of the minor ticks, which have no label.
    """

    logarithmic: bool
    low: float
    high: float
    ticks: dict[float, str]
    minor: tuple[float, ...] = ()

    def place(self, value: float) -> float:
        """Return the position of a value: 0 at the low end, 1 at the high end."""
        low, high, at = (self.along(number) for number in (self.low, self.high, value))
        return (at - low) / (high - low)

    def along(self, value: float) -> float:
        """Return the logarithm of a value on a logarithmic scale, else the value."""
        return log(value) if self.logarithmic else float(value)


def is_wide(values: Iterable[float]) -> bool:
    """True if the range of the values needs a logarithmic scale."""
    known = list(values)
    return min(known) > 0 and max(known) > LOG_FROM * min(known)


def is_by_factor(values: Sequence[float]) -> bool:
    """True if three or more positive values form a geometric sequence."""
    if len(values) < 3 or min(values) <= 0:
        return False
    return all(isclose(b / a, values[1] / values[0]) for a, b in pairwise(values))


def scale_of_measure(
    values: Sequence[float], unit: Unit, most: float, wanted: AxisScale | None = None
) -> Scale:
    """Return the scale of a measure, with at most about `most` labelled ticks.

    Args:
        values: values to show; positive if `wanted` is logarithmic.
        unit: unit of the values.
        most: number of labelled ticks that there is room for.
        wanted: kind of the scale; None to choose it by the values.
    """
    logarithmic = is_wide(values) if wanted is None else wanted is AxisScale.LOG
    low, high = float(min(values)), float(max(values))
    if logarithmic:
        margin = (high / low if high > low else ZERO_FROM) ** _MARGIN
        low, high = low / margin, high * margin
        ticks = _log_ticks(low, high, unit.base, most)
        minor = _log_minor(low, high, unit.base, ticks)
    else:
        if low >= 0 and (high > ZERO_FROM * low or not high):
            low, high = 0.0, high * (1 + _MARGIN) or 1.0
        else:
            margin = (high - low) * _MARGIN or abs(high) * _MARGIN
            low, high = low - margin, high + margin
        ticks, minor = _even_ticks(low, high, unit.base, most), ()
    return Scale(logarithmic, low, high, {tick: unit.show(tick) for tick in ticks}, minor)


def scale_of_option(values: Sequence[float], most: float, wanted: AxisScale | None = None) -> Scale:
    """Return the scale of an option, with at most about `most` labelled ticks.

    Args:
        values: its ascending values, two or more; positive if `wanted` is logarithmic.
        most: number of labelled ticks that there is room for.
        wanted: kind of the scale; None to choose it by the values.
    """
    by_values = is_wide(values) or is_by_factor(values)
    logarithmic = by_values if wanted is None else wanted is AxisScale.LOG
    low, high = float(values[0]), float(values[-1])
    if logarithmic:
        margin = (high / low) ** _MARGIN
        low, high = low / margin, high * margin
    else:
        margin = (high - low) * _MARGIN
        low, high = low - margin, high + margin
    bare = Scale(logarithmic, low, high, {})
    ticks = _thinned(values, bare, most)
    if not ticks and logarithmic:
        ticks = _log_ticks(low, high, 1000, most)
    elif not ticks:
        ticks = _even_ticks(low, high, 1000, most)
    minor = tuple(float(value) for value in values if value not in ticks)
    if len(minor) > _THIN_FROM * most:
        minor = ()
    return Scale(logarithmic, low, high, {tick: show_value(tick) for tick in ticks}, minor)


def show_value(value: float) -> str:
    """Return the value of an option as text: `16,384`, `0.75`."""
    return f"{int(value):,}" if value == int(value) else f"{value:.6g}"


def _thinned(values: Sequence[float], scale: Scale, most: float) -> list[float]:
    """Return every n-th value such that their labels have room; empty if that fails."""
    if len(values) > _THIN_FROM * most:
        return []
    for step in range(1, len(values)):
        kept = [float(value) for value in values[::step]]
        if len(kept) < min(_FEWEST, len(values)):
            return []
        if all(scale.place(b) - scale.place(a) >= 1 / most for a, b in pairwise(kept)):
            return kept
    return []


def _log_ticks(low: float, high: float, base: int, most: float) -> list[float]:
    """Return round values, as many as there is room for; powers of two if `base` is 1,024."""
    if base == 1024:
        choices = [_powers(low, high, 2.0**step, (1,)) for step in (1, 2, 3, 4, 5, 10, 20)]
    else:
        choices = [_powers(low, high, 10.0, (1, 2, 5)), _powers(low, high, 10.0, (1, 3))]
        choices += [_powers(low, high, 10.0**step, (1,)) for step in (1, 2, 3, 6, 9)]
    found = next((ticks for ticks in choices if len(ticks) <= most), choices[-1])
    if len(found) < 2:  # within a factor of a few, or between two powers far apart
        found = max(found, _with_room(_even_ticks(low, high, base, most), low, high, most), key=len)
    return found


def _with_room(ticks: Sequence[float], low: float, high: float, most: float) -> list[float]:
    """Return the ticks that have room on a logarithmic scale, where they crowd upwards."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or log(tick / kept[-1]) * most >= log(high / low):
            kept.append(tick)
    return kept


def _log_minor(low: float, high: float, base: int, ticks: Sequence[float]) -> tuple[float, ...]:
    every = (
        _powers(low, high, 2.0, (1,)) if base == 1024 else _powers(low, high, 10.0, range(1, 10))
    )
    tenths = every if len(every) <= 40 else _powers(low, high, 10.0, (1,))
    return tuple(value for value in tenths if value not in ticks)


def _powers(low: float, high: float, factor: float, times: Iterable[int]) -> list[float]:
    """Return the products of a power of `factor` and a number of `times`, from low to high."""
    first, last = floor(log10(low) / log10(factor)) - 1, ceil(log10(high) / log10(factor))
    found = [number * factor**power for power in range(first, last + 1) for number in times]
    return [value for value in found if low <= value <= high]


def _even_ticks(low: float, high: float, base: int, most: float) -> list[float]:
    """Return the multiples of a round step, at most `most` of them."""
    finest = (high - low) / most
    if base == 1024:
        steps = (2.0**power for power in count(floor(log2(finest))))
    else:
        decade = floor(log10(finest))
        steps = (n * 10.0**power for power in count(decade) for n in (1, 2, 5))
    step = next(step for step in steps if floor(high / step) - ceil(low / step) < most)
    return [times * step for times in range(ceil(low / step), floor(high / step) + 1)]
