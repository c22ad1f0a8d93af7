"""Ranges of an option: `64:16384:x2` by a factor, `64:1024:+64` by a step, `64,128,256`.

Values by a factor are rounded if the option is a ratio: to four digits, or to as many as the ends
have or as keep neighbours apart. So `1:8:x1.1` is 1, 1.1, 1.21, 1.331, 1.464, ..., and the ends,
if they are reached, are as given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from itertools import count

from vitprof.errors import SpecError
from vitprof.values.options import Option, Ratio, Whole, label_of, plain

Number = int | Fraction | float

FORMS = "first:last:xFACTOR, first:last:+STEP, or values with commas between"
_NUMBER = re.compile(r"\d{1,30}(\.\d{1,30})?", re.ASCII)
_ARITHMETIC = Context(prec=100)  # more digits than a sum of numbers of a range has
_DIGITS = 4  # of a ratio that a factor leads to, at least


@dataclass(frozen=True, slots=True)
class Axis:
    """Values of an option in a sweep.

    Attributes:
        name: field name of the option.
        values: in strictly ascending order.
    """

    name: str
    values: tuple[Number, ...]


def is_range(value: object) -> bool:
    """Return True if a value given for an option, or a word, is a range or a list of values."""
    return isinstance(value, (tuple, list, range)) or (
        isinstance(value, str) and (":" in value or "," in value or not value.strip())
    )


def read_axis(name: str, given: object, option: Option, *, most: int | None = None) -> Axis:
    """Read the values of an option; the last value of a range is included if a step reaches it.

    Args:
        name: the option's field name.
        given: a range as a string, values, or one value.
        option: the option's declaration.
        most: maximum number of values; None for no limit.

    Raises:
        SpecError: `given` is not a range, is empty or reversed, or has more than `most`
            values; the option is not a number, or does not allow one of the values.
    """
    if not isinstance(option, (Whole, Ratio)):
        raise SpecError(_no_number(name, option))
    values: list[Number] = []
    for value in _several(name, given, most, rounded=isinstance(option, Ratio)):
        values.append(option.read(name, value))
        if len(values) > 1 and values[-1] <= values[-2]:
            raise SpecError(
                f"the values of {label_of(name)} must ascend, but {plain(values[-1])} comes after "
                f"{plain(values[-2])}; give them in order, each once"
            )
        if most is not None and len(values) > most:
            raise _too_many(name, f"more than {most:,}", most)
    if not values:
        raise SpecError(f"the range of {label_of(name)} is empty; give {FORMS}")
    return Axis(name, tuple(values))


def _no_number(name: str, option: Option) -> str:
    return (
        f"{label_of(name)} is not a number and cannot be swept; give one value, {option.bounds()}, "
        "and sweep another option"
    )


def _several(name: str, given: object, most: int | None, *, rounded: bool) -> Iterable[object]:
    if not isinstance(given, str):
        return given if isinstance(given, Iterable) else (given,)
    if not given.strip():
        return ()
    parts = (part.strip() for part in given.split(","))
    return (value for part in parts for value in _part(name, part, most, rounded=rounded))


def _part(name: str, part: str, most: int | None, *, rounded: bool) -> Iterable[object]:
    """Return the values of one part of a list, which is a range or a single value."""
    if ":" not in part:
        if not part:
            raise SpecError(f"the values of {label_of(name)} have a comma too many; give {FORMS}")
        return (part,)
    words = part.split(":")
    if len(words) != 3 or not words[2]:
        raise SpecError(
            f"{label_of(name)} {part!r} is not a range; give a first value, a last value and "
            f"a factor or step, as in {words[0] or 1}:{words[1] or 1024}:x2 or +64"
        )
    first, last = _number(name, part, words[0]), _number(name, part, words[1])
    by_factor = words[2][0] in "x×*"
    by = _number(name, part, words[2][1:] if by_factor or words[2][0] == "+" else words[2])
    if first > last:
        raise SpecError(
            f"{label_of(name)} {part!r} is reversed: {words[0]} is more than {words[1]}; "
            f"give {words[1]}:{words[0]}:{words[2]}"
        )
    if by_factor:
        if by <= 1 or not first:
            raise SpecError(
                f"{label_of(name)} {part!r} never ends; "
                + ("give a factor above 1, as in x2" if first else "begin above 0, or give a step")
            )
        digits = _digits(first, last, by) if rounded else _ARITHMETIC.prec
        return map(_spelled, _products(first, last, by, Context(prec=digits)))
    if not by:
        raise SpecError(f"{label_of(name)} {part!r} never ends; give a step above 0, as in +64")
    number = int((Fraction(last) - Fraction(first)) / Fraction(by)) + 1
    if most is not None and number > most:
        raise _too_many(name, f"{number:,}", most)
    return (
        _spelled(_ARITHMETIC.add(first, _ARITHMETIC.multiply(by, Decimal(place))))
        for place in range(number)
    )


def _number(name: str, part: str, word: str) -> Decimal:
    if not _NUMBER.fullmatch(word):
        raise SpecError(
            f"{label_of(name)} {part!r} is not a range: {word!r} is not a number; give {FORMS}"
        )
    return Decimal(word)


def _digits(first: Decimal, last: Decimal, factor: Decimal) -> int:
    """Return the digits to which products are rounded.

    Neighbours are more than a unit in the last digit apart, so that they stay distinct.
    """
    apart = next(digits for digits in count(_DIGITS) if Decimal(10).scaleb(-digits) < factor - 1)
    return max(apart, *(len(end.normalize(_ARITHMETIC).as_tuple().digits) for end in (first, last)))


def _products(
    first: Decimal, last: Decimal, factor: Decimal, rounded: Context
) -> Iterator[Decimal]:
    while first <= last:
        yield rounded.plus(first)
        first = _ARITHMETIC.multiply(first, factor)


def _spelled(value: Decimal) -> int | str:
    """Return a value in the form that `Option.read` takes: an int, or a decimal."""
    return int(value) if value == value.to_integral_value() else f"{value.normalize(_ARITHMETIC):f}"


def _too_many(name: str, number: str, most: int) -> SpecError:
    return SpecError(
        f"the range of {label_of(name)} has {number} values, and --max-points is {most:,}; "
        "give a coarser range or a larger --max-points"
    )
