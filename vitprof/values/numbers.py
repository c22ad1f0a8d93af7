"""Numbers of modules in a module list, in one word: `0-11`, `2,5,8`, `0-22:2`.

A word has parts with commas between. A part is a number, or a range with both ends, of which
`:2` takes every second number. A range that a user gives can be open: `6-`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PART = re.compile(r"(?P<first>\d+)((?P<range>-)(?P<last>\d+)?(:(?P<step>[1-9]\d*))?)?", re.ASCII)
_LISTED = 4  # so many numbers with equal steps are listed one by one


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from a first one on, by equal steps.

    Attributes:
        first: the first number.
        last: upper bound, included; None without one.
        step: difference of two numbers.
    """

    first: int
    last: int | None
    step: int = 1

    def below(self, end: int) -> range:
        """Return those of the numbers that are below `end`."""
        return range(self.first, end if self.last is None else min(end, self.last + 1), self.step)

    @property
    def needed(self) -> int:
        """Greatest number that has to exist, so that each part of the word names something."""
        if self.last is None:
            return self.first
        return self.last - (self.last - self.first) % self.step


def read_numbers(word: str) -> tuple[Range, ...] | None:
    """Return the numbers that a word stands for; None if it is no such word."""
    found = []
    for part in word.split(","):
        read = _PART.fullmatch(part.strip())
        if read is None:
            return None
        first, open_ = int(read["first"]), read["range"] is not None and read["last"] is None
        last = None if open_ else int(read["last"] or first)
        if last is not None and last < first:
            return None
        found.append(Range(first, last, int(read["step"] or 1)))
    return tuple(found)


def listed(word: str) -> list[int] | None:
    """Return the numbers of a word in which no range is open; None if it is no such word."""
    read = read_numbers(word)
    if read is None or any(one.last is None for one in read):
        return None
    return [number for one in read for number in one.below(one.needed + 1)]


def in_a_word(numbers: Sequence[int]) -> str:
    """Return numbers in ascending order in one word: `0-1,3-4,6`."""
    parts, start = [], 0
    while start < len(numbers):
        row = _row(numbers[start:])
        step = row[1] - row[0] if len(row) > 1 else 1
        if step > 1 and len(row) <= _LISTED:
            row, step = row[:1], 1
        last = f"-{row[-1]}" if len(row) > 1 else ""
        parts.append(f"{row[0]}{last}" + (f":{step}" if step > 1 else ""))
        start += len(row)
    return ",".join(parts)


def _row(numbers: Sequence[int]) -> Sequence[int]:
    """Return the numbers from the first on that follow each other by equal steps."""
    if len(numbers) < 2:
        return numbers
    step = numbers[1] - numbers[0]
    length = 2
    while length < len(numbers) and numbers[length] - numbers[length - 1] == step:
        length += 1
    return numbers[:length]
