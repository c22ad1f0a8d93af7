"""Exact or measured numbers with a unit, whose `str` is the text in a report."""

from __future__ import annotations

from dataclasses import dataclass


class Amount:
    """A number with a unit in a cell of a report."""

    def __str__(self) -> str:
        raise NotImplementedError


class Bytes(int, Amount):
    """Memory: `10.50 GiB`, `512.0 MiB`, and below 1 MiB `1,024 bytes`."""

    def __str__(self) -> str:
        if self >= 1024**3:
            return f"{self / 1024**3:,.2f} GiB"
        if self >= 1024**2:
            return f"{self / 1024**2:.1f} MiB"
        return f"{int(self):,} bytes"


class Signed(int, Amount):
    """A difference: `+3,200,000`."""

    def __str__(self) -> str:
        return f"{'−' if self < 0 else '+'}{abs(int(self)):,}"


class Change(float, Amount):
    """A difference relative to a whole: `+0.27%`."""

    def __str__(self) -> str:
        percent = abs(100 * float(self))
        digits = f"{percent:,.2f}" if percent >= 0.1 or not percent else f"{percent:.2g}"
        return f"{'−' if self < 0 else '+'}{digits}%"


class Seconds(float, Amount):
    """A time, given in seconds: `1.25 s`, `20.0 ms`, `50.0 µs`."""

    def __str__(self) -> str:
        unit, number = ("s", float(self)) if self >= 1 else ("ms", 1e3 * self)
        if number < 0.1:
            unit, number = "µs", 1e6 * self
        return f"{figure(number)} {unit}"


class Times(float, Amount):
    """A ratio: `×0.25`."""

    def __str__(self) -> str:
        return f"×{float(self):,.2f}" if self >= 0.1 else f"×{float(self):.2g}"


class Figure(float, Amount):
    """A measured number, in about three digits."""

    def __str__(self) -> str:
        return figure(float(self))


class Share(float, Amount):
    """A fraction of a whole, in percent: `35.2%`."""

    def __str__(self) -> str:
        return f"{float(self):.1%}"


@dataclass(frozen=True, slots=True)
class Scaled(Amount):
    """A count in a unit: `17.56`, `0`, and `<0.01` for one that the digits do not show.

    Attributes:
        count: the count, at least 0.
        factor: what a unit of it counts, such as 10⁹.
        decimals: digits after the point.
    """

    count: int
    factor: int
    decimals: int

    def __str__(self) -> str:
        if not self.count:
            return "0"
        shift = 10**self.decimals
        rounded = (2 * self.count * shift + self.factor) // (2 * self.factor)  # a half goes up
        least = "" if rounded else "<"
        whole, rest = divmod(rounded or 1, shift)
        digits = f".{rest:0{self.decimals}}" if self.decimals else ""
        return f"{least}{whole:,}{digits}"


def figure(number: float) -> str:
    """Format a number in three digits, with all digits before the decimal point."""
    return f"{number:,.{2 if number < 10 else 1 if number < 100 else 0}f}"
