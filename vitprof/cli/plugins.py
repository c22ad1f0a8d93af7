"""Load mixers of other packages, whose options the command line has to declare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest

from vitprof.errors import SpecError
from vitprof.formulas.mixers import find_mixer

_OPTIONS = ("--mixer", "--mixers")


def load_mixers(arguments: Sequence[str]) -> None:
    """Load the mixers named on a command line, before its options are parsed.

    A mixer that cannot be loaded is ignored here: the command reports the error.
    """
    for name in _named(arguments):
        with suppress(SpecError):
            find_mixer(name)


def _named(arguments: Sequence[str]) -> Iterator[str]:
    for argument, after in zip_longest(arguments, arguments[1:], fillvalue=""):
        option, given, value = argument.partition("=")
        if option in _OPTIONS:
            yield from (value if given else after).split(",")
