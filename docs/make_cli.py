"""Write docs/cli.md, the reference of the command line: python docs/make_cli.py"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from vitprof.cli import COMMANDS, app
from vitprof.cli.help import FOLDED, described, sections

PAGE = Path(__file__).parent / "cli.md"

_COMPLETION = """\
## Completion in the shell

`vitprof --install-completion bash` (or `zsh`, `fish`, `powershell`) has the Tab key complete
commands, options and the names that they take: presets, models, mixers, GPUs, counters, formats,
and those in a list with commas. `vitprof --show-completion bash` prints the script, for a place of
your own. With `--mixer` or `--model` on the line, options of other mixers and models are not
offered. In zsh and fish, give a value after a blank, `--mixer lambda`. Nothing is imported but
vitprof's own declarations, and a mixer that is installed and named by its name."""
_SHARED = """\
## Options that commands share

Commands that take a model have these options. A model has those in which it is named, with its
default, and so has a mixer; `vitprof models NAME` and `vitprof mixers NAME` show those of one."""


def reference() -> str:
    """Return the help of every command in Markdown, with the options that commands share once."""
    group: Any = get_command(app)
    top = group.context_class(group, info_name="vitprof", **group.context_settings)
    shared: dict[str, dict[str, Any]] = {name: {} for name in FOLDED}
    lines = ["# Command line", "", *_command(group, top, shared), _COMPLETION, ""]
    for name in COMMANDS:
        command = group.get_command(top, name)
        context = command.context_class(command, info_name=name, parent=top)
        lines += [f"## `vitprof {name}`", "", *_command(command, context, shared)]
    lines += [_SHARED, ""]
    for title, options in shared.items():
        lines += [f"### {title}", "", *_listed(options.values()), ""]
    return "\n".join(lines).rstrip() + "\n"


def _command(command: Any, context: Any, shared: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the lines on a command; add its options that are shared to `shared`."""
    yield from (*_escaped(command.help).splitlines(), "")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from ("```console", f"$ {usage}", "```", "")
    if command.epilog:
        yield from (f"Example: `{command.epilog.removeprefix('Example: ')}`", "")
    others = []
    for title, parameters in sections(command.get_params(context)).items():
        if title in shared:
            others.append(f"[{title.lower()}](#{title.lower().replace(' ', '-')})")
            shared[title] |= {one.name: one for one in parameters}
        else:
            yield from (f"{title}:", "", *_listed(parameters), "")
    if others:
        yield from (f"More: {', '.join(others)}.", "")
    if hasattr(command, "commands_with_help"):
        yield from ("Commands:", "")
        for name, told in command.commands_with_help(context):
            yield f"* [`vitprof {name}`](#vitprof-{name}): {_escaped(told)}"
        yield ""


def _listed(parameters: Iterable[Any]) -> Iterator[str]:
    for names, told in map(described, parameters):
        yield f"* `{names}`: {_escaped(told)}"


def _escaped(words: str) -> str:
    return re.sub(r"[*<\[]", r"\\\g<0>", words)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
