"""What vitprof raises when it cannot do what it was asked.

    VitprofError
    +-- SpecError      a model, mixer or size that cannot be (also a ValueError)
    +-- FormulaError   a formula whose ops do not fit together
    +-- OutputError    a file that cannot be written

The message is one sentence for the person who asked: the value, the rule and
the way out. The command line prints it to stderr and exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VitprofError(Exception):
    """A request that vitprof refuses, with the sentence that says why."""


class SpecError(VitprofError, ValueError):
    """A model, mixer, counter or size that was asked for and cannot be."""


class FormulaError(VitprofError):
    """A formula whose ops do not fit together; what its author has to mend."""


class OutputError(VitprofError):
    """A file that cannot be written."""


def listing(names: Iterable[object], last: str = "or") -> str:
    """Join names for a sentence: `a, b or c`."""
    *head, tail = [str(name) for name in names]
    return f"{', '.join(head)} {last} {tail}" if head else tail


def unknown(what: str, name: str, known: Iterable[str]) -> SpecError:
    """Say that there is no `what` called `name`, and what there is instead."""
    known = tuple(known)
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return SpecError(f"there is no {what} {name!r}; {guess}known are {listing(known, 'and')}")
