"""Ratios: exact fractions, and decimals as the doubles that PyTorch code computes with.

A whole number and a fraction, `32/3`, are exact. A decimal, `10.666666666666666`, is the nearest
double, and its product with a size is rounded as in `int(dim * ratio)`, which timm computes: that
double is less than 32/3, and 768 times it is 8,192 all the same.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import isfinite, trunc
from numbers import Rational, Real

from vitprof.errors import SpecError

_HUGE_EXPONENT = re.compile(r"[eE][+-]?[\d_]{3}")
_FINEST = 2**20  # denominator; the double of such a ratio below 1,000 times a size is not rounded


def read_ratio(value: object) -> Fraction | float:
    """Return a whole number or a fraction exactly, and a decimal as the nearest double.

    A double with at most 20 binary places, such as 2.5, is returned as the fraction that it is,
    since its products with sizes are not rounded.

    Raises:
        ValueError: the value is not a number.
        OverflowError: it is infinite, or has an exponent of three digits.
        ZeroDivisionError: it is a fraction of 0.
    """
    if isinstance(value, bool):
        raise ValueError(value)
    if isinstance(value, Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, Real):
        return _simplest(float(value))
    text = str(value)
    if _HUGE_EXPONENT.search(text):  # Fraction would compute such a power for hours
        raise OverflowError(text)
    exact = Fraction(text)
    double = float(text) if "/" not in text else 0.0
    return _simplest(double) if exact.denominator > 1 and double and isfinite(double) else exact


def _simplest(double: float) -> Fraction | float:
    numerator, denominator = double.as_integer_ratio()
    return Fraction(numerator, denominator) if denominator <= _FINEST else double


def plain_ratio(ratio: Fraction | float) -> int | float | str:
    """Return a ratio for JSON and TOML: `read_ratio` reads an equal one from it."""
    if isinstance(ratio, float):
        return ratio
    if ratio.denominator == 1:
        return ratio.numerator
    double = float(ratio)
    return double if read_ratio(double) == ratio else str(ratio)


def rounded_down(number: int, ratio: Fraction | float) -> int:
    """Return `number` times a positive ratio, rounded down: an array of them if one is an array.

    The product with a fraction is exact; that with a double is the double `number * ratio`.

    Raises:
        SpecError: `number` is a symbol and the ratio is a double.
    """
    if not isinstance(ratio, float) and hasattr(ratio, "denominator"):  # a fraction, or many
        return number * ratio.numerator // ratio.denominator
    try:
        return trunc(ratio * number)
    except TypeError:
        exact = Fraction(ratio).limit_denominator(1_000)
        raise SpecError(
            f"{ratio} is a rounded decimal, with which no formula in symbols is exact; give a "
            f"fraction, such as {exact}"
        ) from None
