"""Exceptions that vitprof raises.

    VitprofError
    +-- SpecError      an invalid model, mixer or size (also a ValueError)
    +-- FormulaError   a formula whose ops do not fit together
    +-- OutputError    a file that cannot be written

The message is one sentence for the user: the value, the rule and the way out. The
command line prints it to stderr and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from vitprof.text import quoted, sentence


class VitprofError(Exception):
    """A refused request; the message gives the reason, in a line of bounded length."""

    def __init__(self, message: str) -> None:
        super().__init__(sentence(message))


class SpecError(VitprofError, ValueError):
    """An invalid model, mixer, tool or size."""


class FormulaError(VitprofError):
    """A formula whose ops do not fit together; its author has to fix it."""


class OutputError(VitprofError):
    """A file that cannot be written."""


def listing(names: Iterable[object], last: str = "or") -> str:
    """Join names for a sentence: `a, b or c`."""
    *head, tail = [str(name) for name in names]
    return f"{', '.join(head)} {last} {tail}" if head else tail


def unknown(kind: str, name: str, known: Iterable[str]) -> SpecError:
    """Return the error for a `name` that is no `kind`; it lists the known names."""
    known = tuple(known)
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return SpecError(f"there is no {kind} {quoted(name)}; {guess}known are {listing(known, 'and')}")
