"""Exceptions that vitprof raises.

    VitprofError
    +-- SpecError                an invalid model, mixer or size (also a ValueError)
    |   +-- UnknownNameError     a name that nothing has
    +-- FormulaError             a formula whose ops do not fit together
    +-- OutputError              a file that cannot be written

The message is one sentence for the user: the value, the rule and the way out. The
command line prints it to stderr and exits with code 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher

from vitprof.text import quoted, sentence


class VitprofError(Exception):
    """A refused request; the message gives the reason, in a line of bounded length."""

    def __init__(self, message: str) -> None:
        super().__init__(sentence(message))


class SpecError(VitprofError, ValueError):
    """An invalid model, mixer, tool or size."""


class UnknownNameError(SpecError):
    """A name that nothing of its kind has.

    Attributes:
        kind: what was looked for, `preset`.
        name: the name that was given.
    """

    def __init__(self, message: str, kind: str, name: str) -> None:
        super().__init__(message)
        self.kind, self.name = kind, name


class FormulaError(VitprofError):
    """A formula whose ops do not fit together; its author has to fix it."""


class OutputError(VitprofError):
    """A file that cannot be written."""


def listing(names: Iterable[object], last: str = "or") -> str:
    """Join names for a sentence: `a, b or c`."""
    *head, tail = [str(name) for name in names]
    return f"{', '.join(head)} {last} {tail}" if head else tail


_LISTED = 30  # names in a sentence; layers of a model are hundreds


def unknown(
    kind: str, name: str, known: Iterable[str] | Mapping[str, object], lists: str = ""
) -> UnknownNameError:
    """Return the error for a `name` that is no `kind`.

    Args:
        kind: what was looked for.
        name: the name that was given.
        known: the names that there are; in a mapping, names of the same value are one thing.
        lists: words that say where they are listed; the sentence lists the first if empty.
    """
    known = known if isinstance(known, Mapping) else tuple(known)
    first = [*known][:_LISTED]
    more = [f"{len(known) - _LISTED} more"] if len(known) > _LISTED else []
    listed = lists or f"known are {listing([*first, *more], 'and')}"
    return UnknownNameError(
        f"there is no {kind} {quoted(name)}; {guess(name, known)}{listed}", kind, name
    )


def guess(name: str, known: Iterable[str] | Mapping[str, object]) -> str:
    """Return `did you mean a, b or c? ` for the known names nearest to `name`, or nothing."""
    found = near(name, known)
    return f"did you mean {listing(found)}? " if found else ""


_MOST, _ALIKE, _WITHIN = 3, 0.6, 0.1  # names to offer; ratios of `difflib`


def near(name: str, known: Iterable[str] | Mapping[str, object]) -> list[str]:
    """Return up to three known names that `name` may stand for, the likeliest first.

    Case, blanks and punctuation do not matter. Names that begin with it are likelier than names
    that begin with its letters and its first number, as in a100x and a100-40; these than names
    that contain it; these than names with its numbers; and these than names with many of its
    letters in the same order.
    """
    things = known if isinstance(known, Mapping) else {one: one for one in known}
    wanted = _parts(name)
    matcher = SequenceMatcher(b="".join(wanted))
    found = []
    for one in things:
        parts = _parts(one)
        kinship = _kinship(wanted, parts)
        matcher.set_seq1("".join(parts))
        bounds = (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio)
        if kinship or all(bound() >= _ALIKE for bound in bounds):
            found.append((kinship, matcher.ratio(), one))
    if not found:
        return []
    first, closest = max((kinship, ratio) for kinship, ratio, _ in found)
    least = closest - _WITHIN if first < 2 else 0
    chosen: dict[object, str] = {}
    for kinship, ratio, one in sorted(found, key=lambda each: -each[1]):
        if kinship == first and ratio >= least:
            chosen.setdefault(things[one], one)
    return [*chosen.values()][:_MOST]


def _parts(name: str) -> list[str]:
    """Return the words and the numbers of a name."""
    return re.findall(r"[^\W\d_]+|\d+", name.casefold())


def _kinship(wanted: list[str], known: list[str]) -> int:
    """Return how a known name is akin to the wanted one, by their parts; 0 if in letters only."""
    sought, name = "".join(wanted), "".join(known)
    if sought == name:
        return 5
    if sought and name.startswith(sought):
        return 4
    if _beginning(wanted) and _beginning(wanted) == _beginning(known):
        return 3
    if len(sought) > 2 and sought in name:
        return 2
    numbers = {part for part in wanted if part.isdigit()}
    return int(bool(numbers) and numbers <= {*known})


def _beginning(parts: list[str]) -> str:
    """Return what ends with the first number; empty if there is none."""
    for place, part in enumerate(parts):
        if part.isdigit():
            return "".join(parts[: place + 1])
    return ""
