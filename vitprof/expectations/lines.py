"""Places in a file of expectations, in which errors are located: lines at which keys stand."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vitprof.errors import SpecError, VitprofError

_TOKEN = re.compile(r"""(?P<word>"(?:[^"\\]|\\.)*"|'[^']*'|[\w-]+)|\S""")


class CheckFileError(VitprofError):
    """A file cannot be read as expectations; the message names the line if there is one."""


@contextmanager
def located(path: Path, line: int) -> Iterator[None]:
    """Turn a SpecError of the body into a CheckFileError with the line."""
    try:
        yield
    except SpecError as error:
        raise CheckFileError(f"{path}, line {line}: {error}") from error


@dataclass(frozen=True, slots=True)
class Place:
    """A table of the file, or the whole file, in which errors are located.

    Attributes:
        path: the file.
        lines: all lines of the file.
        keys: lines of the file at which a key stands, by key.
        start: first line of the table, from 1.
        end: last line of the table.
    """

    path: Path
    lines: list[str]
    keys: Mapping[str, list[int]]
    start: int
    end: int

    @contextmanager
    def at(self, key: str) -> Iterator[int]:
        """Yield the line of `key`; turn a SpecError of the body into a CheckFileError."""
        line = self._line(key)
        with located(self.path, line):
            yield line

    def within(self, section: str) -> Place:
        """Return the part of the table that begins with `[expect.section]`."""
        heading = re.compile(rf"\s*\[\s*expect\.{section}\s*\]")
        own = enumerate(self.lines[self.start - 1 : self.end], self.start)
        starts = (line + 1 for line, words in own if heading.match(words))
        return replace(self, start=next(starts, self.start))

    def _line(self, key: str) -> int:
        lines = self.keys.get(key, [])
        first = bisect_left(lines, self.start)
        found = lines[first : first + 1]
        return found[0] if found and found[0] <= self.end else self.start


def keys_by_line(lines: list[str]) -> dict[str, list[int]]:
    """Return the lines, from 1, at which each key stands."""
    found: dict[str, list[int]] = {}
    for number, line in enumerate(lines, 1):
        for key in _keys(line):
            found.setdefault(key, []).append(number)
    return found


def _keys(line: str) -> Iterator[str]:
    """Yield the keys of a line of TOML: words and text in quotes with = or a dot behind."""
    ends = "]=." if line.lstrip().startswith("[") else "=."
    before, word = "", ""
    for token in _TOKEN.finditer(line):
        sign, within = token[0], token["word"]
        if sign == "#":
            return
        if word and sign in ends:
            yield _unquoted(word)
        word = within if within and before in "[{,." else ""
        before = "word" if within else sign


def _unquoted(word: str) -> str:
    with suppress(tomllib.TOMLDecodeError):
        if word[0] in "\"'":
            return str(tomllib.loads(f"key = {word}")["key"]) if "\\" in word else word[1:-1]
    return word
