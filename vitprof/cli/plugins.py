"""Mixers of other packages, whose options the command line has to declare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from inspect import signature
from itertools import zip_longest

from vitprof.cli.help import OPTIONS_OF_MIXERS
from vitprof.errors import FormulaError, SpecError
from vitprof.formulas.hybrid import names_in
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.plugins import describe, explain, is_own

_OPTIONS = ("--mixer", "--mixers", "--mixer-at")


def load_mixers(arguments: Sequence[str], commands: Sequence[str]) -> None:
    """Load the mixers named on a command line, before its options are parsed.

    A mixer that cannot be loaded is ignored here: the command reports the error.

    Args:
        arguments: the command line.
        commands: names of all commands.

    Raises:
        SpecError: an option of a mixer has the name of another option.
    """
    for name in _named(arguments):
        mixer = None
        with suppress(SpecError):
            mixer = find_mixer(name)
        for part in mixer.parts() if mixer is not None else ():
            check_options(part, commands)


def check_options(mixer: type[Mixer], commands: Sequence[str]) -> None:
    """Check that no command has an option of the name that a mixer's option has.

    Raises:
        SpecError: one has.
    """
    if is_own(mixer) or not mixer.declared():
        return
    for command in commands:
        name = command.replace("-", "_")
        own = signature(getattr(import_module(f"vitprof.cli.{name}"), name), eval_str=True)
        for option, parameter in own.parameters.items():
            (info,) = getattr(parameter.annotation, "__metadata__", (None,))[:1]
            panel = getattr(info, "rich_help_panel", None)
            if option in mixer.declared() and panel != OPTIONS_OF_MIXERS:
                raise SpecError(
                    f"{describe(mixer)} has an option {option}, and so has vitprof {command} "
                    "itself; rename it"
                )


@contextmanager
def telling_authors() -> Iterator[None]:
    """Turn an error in the code of another package's mixer into a sentence with the line.

    Raises:
        FormulaError: the sentence.
    """
    try:
        yield
    except (KeyboardInterrupt, SpecError):
        raise
    except BaseException as error:
        sentence = explain(error, MIXERS.values())
        if not sentence:
            raise
        raise FormulaError(sentence) from error


def _named(arguments: Sequence[str]) -> Iterator[str]:
    for argument, after in zip_longest(arguments, arguments[1:], fillvalue=""):
        option, given, value = argument.partition("=")
        if option not in _OPTIONS:
            continue
        words = value if given else after
        if option == "--mixer-at":
            yield from names_in(None, words)
        else:
            yield from words.split(",")
