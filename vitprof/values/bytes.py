"""Memory sizes, read from text as exact integers of bytes."""

from __future__ import annotations

import re
from fractions import Fraction

from vitprof.errors import SpecError
from vitprof.text import quoted

_UNITS = {
    unit.lower(): base**power
    for base, ending in ((1024, "iB"), (1000, "B"))
    for power, prefix in enumerate(("k", "M", "G", "T"), start=1)
    for unit in (prefix + ending,)
} | {"": 1, "b": 1}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")
_MOST_DIGITS = 30
_LEAST_WITHOUT_UNIT = 1024**2  # what is less is more likely a forgotten unit


def read_bytes(name: str, text: str) -> int:
    """Return the number of bytes in a size such as `24GiB`, `10.5 GB` or `1048576`.

    A kiB is 1,024 bytes and a kB is 1,000; a fraction of a byte is dropped.

    Args:
        name: name of the value, for the error sentence.
        text: the size as text.

    Raises:
        SpecError: the text is not a memory size, less than one byte, or lacks a unit.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _UNITS or len(match[1]) > _MOST_DIGITS:
        raise SpecError(
            f"{name} {quoted(text)} is not a memory size; give bytes, or a number with "
            "kiB, MiB, GiB or TiB (of 1,024) or kB, MB, GB or TB (of 1,000), such as 24GiB"
        )
    size = int(Fraction(match[1]) * _UNITS[match[2].lower()])
    if size < 1:
        raise SpecError(f"{name} {quoted(text)} is less than one byte; give one byte or more")
    if not match[2] and size < _LEAST_WITHOUT_UNIT:
        raise SpecError(
            f"{name} {quoted(text)} is {size:,} bytes without a unit; give one, such as {text}GiB "
            f"or {text}B"
        )
    return size
