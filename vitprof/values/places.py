"""Places of blocks in a model, and what is there instead of the usual: `2,5,8=linear`.

A place is the path of blocks, of a list of blocks or of a module that has lists, with numbers as in
`vitprof.values.numbers`: `blocks.2,5,8`, `decoder_blocks`, `stages.2-3`, `stages.2.blocks.1-:2`.
Numbers alone are those of the list `blocks`. Several are separated by semicolons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from vitprof.values.numbers import Range, read_numbers

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Blocks that a word names.

    Attributes:
        word: the word.
        parts: names and numbers of its path.
    """

    word: str
    parts: tuple[str | tuple[Range, ...], ...]

    def has(self, path: Sequence[str]) -> bool:
        """Return True if a block is one of them; path is that of its list and its number."""
        return len(self.parts) <= len(path) and all(
            part == name if isinstance(part, str) else name.isdigit() and _in(part, int(name))
            for part, name in zip(self.parts, path, strict=False)
        )

    def single(self) -> list[Place]:
        """Return the places that each have to be there, so that no part of the word is wrong."""
        return [
            Place(".".join(names), tuple(map(_part, names)))
            for names in product(
                *([part] if isinstance(part, str) else _ends(part) for part in self.parts)
            )
        ]


def read_places(text: str) -> list[tuple[Place, str]] | None:
    """Return places with what is there: `2,5,8=linear; 11=pool`; None if the text is not so."""
    found = []
    for entry in text.split(";"):
        word, equals, there = entry.strip().partition("=")
        place = _read(word.strip())
        if not equals or place is None or not there.strip():
            return None
        found.append((place, there.strip()))
    return found


def _read(word: str) -> Place | None:
    names = word.split(".")
    if read_numbers(word) is not None:
        names = ["blocks", word]
    if not _NAME.fullmatch(names[0]):
        return None
    parts = [_part(name) for name in names]
    return None if "" in parts else Place(word, tuple(parts))


def _part(name: str) -> str | tuple[Range, ...]:
    """Return a part of a path: numbers, or a name; empty if it is neither."""
    numbers = read_numbers(name)
    return numbers or (name if _NAME.fullmatch(name) else "")


def _in(numbers: Sequence[Range], number: int) -> bool:
    return any(number in one.below(number + 1) for one in numbers)


def _ends(numbers: Sequence[Range]) -> list[str]:
    return [str(end) for one in numbers for end in dict.fromkeys((one.first, one.needed))]
