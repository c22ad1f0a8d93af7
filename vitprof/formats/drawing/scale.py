"""The scale of an axis, its ticks and what they are called; the same in a terminal and in a figure.

An axis is logarithmic where its values are all positive and the largest is more than 30 times
the smallest, and where an option was swept by a factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from math import ceil, floor, isclose, log, log2, log10

LOG_FROM = 30
ZERO_FROM = 2  # a linear axis begins at zero where the largest is more than so many times the least
_MARGIN = 0.05  # of an axis, between its ends and the first and last value
_THIN_FROM = 3  # of so many times as many values as there is room for, ticks are round instead


@dataclass(frozen=True, slots=True)
class Unit:
    """How a number is written on an axis.

    Attributes:
        base: 1,000 or 1,024, what one prefix is over the one before.
        names: what stands after the number, from the prefix of one on.
        smaller: the same, from a thousandth downwards.
    """

    base: int
    names: tuple[str, ...]
    smaller: tuple[str, ...] = ()

    def show(self, value: float) -> str:
        """The number with its prefix: `64 MiB`, `1.5 G`, `20 ms`, `402`."""
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
    """An axis.

    Attributes:
        logarithmic: equal factors are equally far apart; otherwise equal differences are.
        low: where it begins.
        high: where it ends.
        ticks: the values that are named on it, and their names.
        minor: values between them that have a short tick and no name.
    """

    logarithmic: bool
    low: float
    high: float
    ticks: dict[float, str]
    minor: tuple[float, ...] = ()

    def place(self, value: float) -> float:
        """Where the value is: 0 at the low end, 1 at the high one."""
        low, high, at = (self.along(number) for number in (self.low, self.high, value))
        return (at - low) / (high - low)

    def along(self, value: float) -> float:
        """The value as a coordinate in which the axis is even."""
        return log(value) if self.logarithmic else float(value)


def is_wide(values: Iterable[float]) -> bool:
    """Whether the values ask for a logarithmic scale."""
    known = list(values)
    return min(known) > 0 and max(known) > LOG_FROM * min(known)


def is_by_factor(values: Sequence[float]) -> bool:
    """Whether each of the values, three or more, is the same multiple of the one before."""
    if len(values) < 3 or min(values) <= 0:
        return False
    return all(isclose(b / a, values[1] / values[0]) for a, b in pairwise(values))


def scale_of_measure(values: Sequence[float], unit: Unit, most: int) -> Scale:
    """The axis of what was counted or measured, with at most so many named ticks."""
    low, high = float(min(values)), float(max(values))
    if is_wide(values):
        margin = (high / low) ** _MARGIN
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
    return Scale(is_wide(values), low, high, {tick: unit.show(tick) for tick in ticks}, minor)


def scale_of_option(values: Sequence[float], most: int) -> Scale:
    """The axis of the values that an option was given, ascending, two or more of them."""
    logarithmic = is_wide(values) or is_by_factor(values)
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
    """An option's value: `16,384`, `0.75`."""
    return f"{int(value):,}" if value == int(value) else f"{value:.6g}"


def _thinned(values: Sequence[float], scale: Scale, most: int) -> list[float]:
    """Every so manieth of the values, so that there is room for their names; none if that fails."""
    if len(values) > _THIN_FROM * most:
        return []
    for step in range(1, len(values)):
        kept = [float(value) for value in values[::step]]
        if all(scale.place(b) - scale.place(a) >= 1 / most for a, b in pairwise(kept)):
            return kept
    return []


def _log_ticks(low: float, high: float, base: int, most: int) -> list[float]:
    """Round values, the most there is room for; powers of two where the base is one."""
    if base == 1024:
        choices = [_powers(low, high, 2.0**step, (1,)) for step in (1, 2, 3, 4, 5, 10, 20)]
    else:
        choices = [_powers(low, high, 10.0, (1, 2, 5)), _powers(low, high, 10.0, (1, 3))]
        choices += [_powers(low, high, 10.0**step, (1,)) for step in (1, 2, 3, 6, 9)]
    return next((ticks for ticks in choices if len(ticks) <= most), choices[-1])


def _log_minor(low: float, high: float, base: int, ticks: Sequence[float]) -> tuple[float, ...]:
    every = (
        _powers(low, high, 2.0, (1,)) if base == 1024 else _powers(low, high, 10.0, range(1, 10))
    )
    tenths = every if len(every) <= 40 else _powers(low, high, 10.0, (1,))
    return tuple(value for value in tenths if value not in ticks)


def _powers(low: float, high: float, factor: float, times: Iterable[int]) -> list[float]:
    """The products of a power of the factor and one of `times` between two ends."""
    first, last = floor(log10(low) / log10(factor)) - 1, ceil(log10(high) / log10(factor))
    found = [number * factor**power for power in range(first, last + 1) for number in times]
    return [value for value in found if low <= value <= high]


def _even_ticks(low: float, high: float, base: int, most: int) -> list[float]:
    """Multiples of a round step, at most so many."""
    finest = (high - low) / most
    if base == 1024:
        steps = (2.0**power for power in count(floor(log2(finest))))
    else:
        decade = floor(log10(finest))
        steps = (n * 10.0**power for power in count(decade) for n in (1, 2, 5))
    step = next(step for step in steps if floor(high / step) - ceil(low / step) < most)
    return [times * step for times in range(ceil(low / step), floor(high / step) + 1)]
