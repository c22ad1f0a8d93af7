"""Mixers of other packages on the command line, whose options it has to know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest

from vitprof.errors import SpecError
from vitprof.formulas.mixers import find_mixer

_OPTIONS = ("--mixer", "--mixers")


def meet_mixers(arguments: Sequence[str]) -> None:
    """Load the mixers that a command line names, before its options are read.

    What cannot be loaded is left for the command to refuse.
    """
    for name in _named(arguments):
        with suppress(SpecError):
            find_mixer(name)


def _named(arguments: Sequence[str]) -> Iterator[str]:
    for argument, after in zip_longest(arguments, arguments[1:], fillvalue=""):
        option, given, value = argument.partition("=")
        if option in _OPTIONS:
            yield from (value if given else after).split(",")
