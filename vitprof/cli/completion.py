"""Completion of words by a shell: what a script that Typer writes for the shell asks for.

A shell that completes runs vitprof with the words so far in the environment. Nothing but what
completes the last of them is printed, whatever fails. A mixer of an installed package that they
name is loaded, for its options; a module or a mixer that they name by its place is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from shlex import split
from typing import Any

from typer import completion

from vitprof.cli.help import OPTIONS_OF_MIXERS, OPTIONS_OF_MODELS
from vitprof.cli.plugins import load_mixers
from vitprof.cuda.gpus import gpus as known_gpus
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.models import MODELS, find_model
from vitprof.values.options import Options, Whole

SHELLS = ("bash", "zsh", "fish", "powershell")
_REQUEST = "_VITPROF_COMPLETE"
_WORDS, _PLACE, _LINE = "COMP_WORDS", "COMP_CWORD", "_TYPER_COMPLETE_ARGS"  # of bash; of others

Completes = Callable[[str], Iterable[str]]  # values that begin with what is there
Names = Iterable[str] | Completes


def one_of(names: Names) -> Completes:
    """Return the completion of an option that takes one of the names."""

    def complete(incomplete: str) -> list[str]:
        return list(names(incomplete) if callable(names) else names)

    return complete


def several_of(names: Names) -> Completes:
    """Return the completion of an option that takes several of the names, with commas between."""
    known = one_of(names)

    def complete(incomplete: str) -> list[str]:
        *before, last = incomplete.split(",")
        return [",".join([*before, name]) for name in known(last) if name not in before]

    return complete


def presets(incomplete: str) -> list[str]:
    """Return the presets; of what begins none of them, libraries' names of the same models."""
    from vitprof.published import PRESETS

    names = [*PRESETS]
    if not any(name.startswith(incomplete) for name in names):
        names = [name for preset in PRESETS.values() for name in preset.aliases]
    return names


def gpus(incomplete: str) -> list[str]:
    """Return the names of the GPUs, as people type them."""
    return [name for gpu in known_gpus() for name in gpu.names]


def numbers(incomplete: str) -> list[str]:
    """Return the options of models and mixers that are whole numbers."""
    owners: list[type[Options]] = [*MODELS.values(), *MIXERS.values()]
    declared = {name: one for owner in owners for name, one in owner.declared().items()}
    return [name.replace("_", "-") for name, one in declared.items() if isinstance(one, Whole)]


def fitting(parameters: Iterable[Any], given: dict[str, Any]) -> list[Any]:
    """Return the options of a command without those of other models and mixers than are given."""
    others: dict[str, set[str]] = {}
    with suppress(Exception):  # a name that is not known hides no option
        mixers = [given.get("mixer") or "", *(given.get("mixers") or "").split(",")]
        if any(mixers) and all(map(_is_installed, mixers)):
            found = [find_mixer(name) for name in mixers if name]
            others[OPTIONS_OF_MIXERS] = {name for one in found for name in one.declared()}
        if given.get("model"):
            others[OPTIONS_OF_MODELS] = {*find_model(given["model"]).declared()}
    return [
        one
        for one in parameters
        if one.rich_help_panel not in others or one.name in others[one.rich_help_panel]
    ]


def undescribed(items: list[Any]) -> list[Any]:
    """Return what completes a word without descriptions, for which Typer would import rich."""
    for item in items:
        item.help = None
    return items


def is_requested() -> bool:
    """Return True if a shell asks what completes a line."""
    return _REQUEST in os.environ


def answer(app: Callable[..., object], commands: Sequence[str]) -> int:
    """Print what completes the line in the environment, and return the exit code."""
    completion.get_completion_inspect_parameters()  # registers the shells
    with redirect_stderr(StringIO()):
        try:
            with redirect_stdout(StringIO()):  # of code that is loaded
                load_mixers([word for word in _words() if _is_installed(word)], commands)
            app(args=[], prog_name="vitprof", complete_var=_REQUEST, standalone_mode=False)
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 0
        except Exception:  # the line is not one that can be completed
            return 1
    return 0


def _is_installed(name: str) -> bool:
    """Return False for the place of a mixer, whose code a user may not want to run yet."""
    return ":" not in name


def _words() -> list[str]:
    """Return the words before the one that is completed.

    Bash takes an equals sign for a word of its own, between an option and its value: it is left
    out of its words in the environment.
    """
    if _WORDS not in os.environ:
        line = os.environ.get(_LINE, "")
        with suppress(ValueError):  # an open quote
            return split(line[: line.rfind(" ") + 1])
        return []
    words = os.environ[_WORDS].split("\n" if "\n" in os.environ[_WORDS] else None)
    place = int(os.environ.get(_PLACE, len(words)))
    signs = [at for at, word in enumerate(words) if word == "=" and words[at - 1].startswith("--")]
    words = [word for at, word in enumerate(words) if at not in signs]
    os.environ[_WORDS] = "\n".join(words)
    place -= sum(at < place for at in signs)
    os.environ[_PLACE] = str(place)
    return words[:place]
