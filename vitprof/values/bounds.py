"""Bounds of counts and of memory, read from numbers with a unit or from derivations."""

from __future__ import annotations

import re
from fractions import Fraction

from vitprof.errors import SpecError
from vitprof.text import quoted
from vitprof.values.arithmetic import derive
from vitprof.values.bytes import read_bytes

_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_COUNT = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?) ?([kMGT])", re.ASCII)
_SIZE = re.compile(r"[0-9.]+ ?[A-Za-z]*", re.ASCII)


def read_count(value: object) -> int:
    """Return a bound of a count: `"25G"`, which is 25,000,000,000, a whole number or a derivation.

    The units are k, M, G and T, of a thousand each. Nothing is rounded: `"86.6M"` is 86,600,000.

    Raises:
        SpecError: the value is none of them, or no whole number.
    """
    match = _COUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return _derived(value, "a number with k, M, G or T (of 1,000) in quotes, such as 25G")
    number = Fraction(match[1]) * _UNITS[match[2]]
    if number.denominator > 1:
        digits = match[1].partition(".")[0]
        raise SpecError(
            f"{quoted(value)} is not a whole number of counts; give fewer digits, such as "
            f"{digits}{match[2]}"
        )
    return int(number)


def read_memory(name: str, value: object) -> int:
    """Return a bound of memory in bytes: `"24GiB"`, bytes as a whole number, or a derivation.

    Args:
        name: name of the value, for the error sentence.
        value: what was given.

    Raises:
        SpecError: the value is none of them.
    """
    if isinstance(value, str) and _SIZE.fullmatch(value.strip()):
        return read_bytes(name, value)
    return _derived(value, "a memory size in quotes, such as 24GiB")


def _derived(value: object, other: str) -> int:
    try:
        return derive(value)
    except SpecError as error:
        raise SpecError(f"{error}, or {other}") from None
