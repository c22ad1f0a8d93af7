"""Sizes of memory, as people write them: exact integers of bytes."""

from __future__ import annotations

import re
from fractions import Fraction

from vitprof.errors import SpecError

_UNITS = {
    unit.lower(): base**power
    for base, ending in ((1024, "iB"), (1000, "B"))
    for power, prefix in enumerate(("k", "M", "G", "T"), start=1)
    for unit in (prefix + ending,)
} | {"": 1, "b": 1}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")
_MOST_DIGITS = 30


def read_bytes(name: str, text: str) -> int:
    """Return the bytes that `24GiB`, `10.5 GB`, `512MiB` or `1048576` stands for.

    A kiB is 1,024 bytes and a kB is 1,000; a part of a byte is dropped.

    Args:
        name: what the size is of, for the sentence that refuses it.
        text: the size.

    Raises:
        SpecError: it cannot be read, or is less than one byte.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _UNITS or len(match[1]) > _MOST_DIGITS:
        raise SpecError(
            f"{name} {text!r} is no size of memory; give bytes, or a number with "
            "kiB, MiB, GiB or TiB (of 1,024) or kB, MB, GB or TB (of 1,000), such as 24GiB"
        )
    size = int(Fraction(match[1]) * _UNITS[match[2].lower()])
    if size < 1:
        raise SpecError(f"{name} {text!r} is no memory at all; give one byte or more")
    return size
