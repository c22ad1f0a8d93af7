"""Help of a command: its own options first; those of models, mixers and a step by name alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Any

from vitprof.formats import columns
from vitprof.text import visible

# Sections of the help. Those named here come last, in this order; the folded ones by name alone.
OUTPUT, SIDE_BY_SIDE, MODEL, MODULE = "Output", "Side by side", "Model", "Any module"
OPTIONS_OF_STEP, OPTIONS_OF_MEASUREMENT = "Options of a step", "Options of a measurement"
OPTIONS_OF_MODELS, OPTIONS_OF_MIXERS = "Options of models", "Options of mixers"
FOLDED = (OPTIONS_OF_STEP, OPTIONS_OF_MEASUREMENT, OPTIONS_OF_MODELS, OPTIONS_OF_MIXERS)
_OF_ONE = {
    OPTIONS_OF_MODELS: " (of one: vitprof models NAME)",
    OPTIONS_OF_MIXERS: " (of one: vitprof mixers NAME)",
}
_LAST = (OUTPUT, SIDE_BY_SIDE, MODEL, MODULE, *FOLDED)
_ARGUMENTS, _OPTIONS = "Arguments", "Options"

_WITHOUT_TERMINAL, _WIDEST, _NAMES = 80, 110, 20  # characters: of a line, of the names in it


def sections(parameters: Iterable[Any]) -> dict[str, list[Any]]:
    """Return the parameters of a command by the section of the help that they stand in."""
    found: dict[str, list[Any]] = {_ARGUMENTS: [], _OPTIONS: []}
    for one in parameters:
        default = _ARGUMENTS if one.param_type_name == "argument" else _OPTIONS
        found.setdefault(one.rich_help_panel or default, []).append(one)
    names = sorted(found, key=lambda name: _LAST.index(name) if name in _LAST else -1)
    return {name: found[name] for name in names if found[name]}


def described(parameter: Any) -> tuple[str, str]:
    """Return a parameter's names with its metavar, and its description with its default."""
    if parameter.param_type_name == "argument":
        names = parameter.metavar
    else:
        metavar = "" if parameter.is_flag else f" {parameter.metavar}"
        both = [", ".join(sorted(parameter.opts, key=len)), *parameter.secondary_opts]
        names = " / ".join(both) + metavar
    default = parameter.show_default
    if default is True and not (parameter.default is None or parameter.default is False):
        default = parameter.default
    told = f"{parameter.help} [default: {default}]" if isinstance(default, str) else parameter.help
    return visible(names), visible(told)


def help_of(command: Any, context: Any, *, full: bool = False) -> str:
    """Return the help of a command, or of the group of all commands.

    Args:
        command: the command.
        context: its context.
        full: True to describe what is else given by name, and to tell all of the command.
    """
    width = min(columns() or _WITHOUT_TERMINAL, _WIDEST)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    return "\n".join([f"Usage: {usage}", *_lines(command, context, width, full=full)]) + "\n"


def _lines(command: Any, context: Any, width: int, *, full: bool) -> Iterator[str]:
    parts = sections(command.get_params(context))
    names = [] if full else [name for name in FOLDED if name in parts]
    told = command.help.split("\n\n")
    for paragraph in [*(told[:1] if names else told), command.epilog]:
        if paragraph:
            yield from ("", *_filled(paragraph, width, 2))
    for name, parameters in parts.items():
        if name not in names:
            yield from ("", f"{name}:", *_list(map(described, parameters), width))
    if hasattr(command, "commands_with_help"):
        yield from ("", "Commands:", *_list(command.commands_with_help(context), width))
    if names:
        more = f"More options, which {context.command_path} --help-all describes:"
        yield from ("", *_filled(more, width))
        for name in names:
            options = ", ".join(one.opts[0] for one in parts[name])
            yield from _filled(f"{name}{_OF_ONE.get(name, '')}: {options}", width, 2, hanging=2)


def _list(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Yield lines with a name each and a text beside it, or below if the name is long."""
    rows = [*rows]
    most = min(max(len(name) for name, _ in rows), _NAMES, width // 3)
    for name, told in rows:
        lines = _filled(told, width, 2 + most + 2)
        if len(name) <= most and lines:
            lines[0] = f"  {name:<{most}}  {lines[0].lstrip()}"
            yield from lines
        else:
            yield from (f"  {name}", *lines)


def _filled(words: str, width: int, indent: int = 0, *, hanging: int = 0) -> list[str]:
    """Return the lines of a text; those after the first are indented by `hanging` more."""
    return wrap(
        words,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_on_hyphens=False,
    )
