"""The command line: one file per command, imported when the command is called.

Data goes to stdout, messages go to stderr. An invalid request prints one sentence to stderr
and exits with code 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.completion import install_callback, show_callback
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from vitprof.cli.command import Command, refusal, told_how_to_help
from vitprof.cli.completion import SHELLS, answer, is_requested, one_of, undescribed
from vitprof.cli.exits import BAD_REQUEST, INTERRUPTED
from vitprof.cli.help import help_of
from vitprof.cli.plugins import load_mixers, telling_authors
from vitprof.cli.streams import complain, emit, open_streams
from vitprof.docstrings import docstring
from vitprof.errors import VitprofError, unknown
from vitprof.formats import given_columns
from vitprof.version import __version__

COMMANDS = (
    "params",
    "macs",
    "explain",
    "memory",
    "time",
    "compare",
    "match",
    "sweep",
    "bench",
    "batch-size",
    "check",
    "models",
    "mixers",
    "presets",
    "gpus",
)


class Commands(TyperGroup):
    """Group of the commands, each imported only when it is called or listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand:
        if cmd_name not in COMMANDS:
            error = unknown("command", cmd_name, COMMANDS)
            names = import_module("vitprof.request.names")
            raise names.of_another_kind(error) or error
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        name = cmd_name.replace("-", "_")
        module = import_module(f"vitprof.cli.{name}")
        called = getattr(module, name)
        example = f"Example: {module.EXAMPLE}"
        app.command(cmd_name, cls=Command, help=docstring(called), epilog=example)(called)
        command = typer.main.get_command(app)
        assert isinstance(command, TyperCommand)
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(help_of(self, ctx))

    def get_help_option(self, ctx: Any) -> Any:
        """Return `--help`."""
        return told_how_to_help(super().get_help_option(ctx))

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the commands and options that begin with `incomplete`."""
        return undescribed(super().shell_complete(ctx, incomplete))

    def commands_with_help(self, ctx: Any) -> list[tuple[str, str]]:
        """Return each command with its first sentence."""
        commands = ((name, self.get_command(ctx, name)) for name in COMMANDS)
        return [(name, (one.help or "").split("\n\n")[0]) for name, one in commands]


app = typer.Typer(
    cls=Commands,
    add_completion=False,  # whose options are below
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        emit(f"vitprof {__version__}\n")
        raise typer.Exit


def _completing(act: Callable[..., object]) -> Callable[..., None]:
    """Return the callback of an option that takes the name of a shell."""

    def called(context: typer.Context, option: typer.CallbackParam, shell: str | None) -> None:
        if shell is None or context.resilient_parsing:
            return
        if shell not in SHELLS:
            raise unknown("shell", shell, SHELLS)
        act(context, option, shell)

    return called


@app.callback(
    help="Count parameters, MACs and memory of vision transformers, and explain the counts of "
    "other tools."
)
def vitprof(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="print the version and exit"
        ),
    ] = False,
    install_completion: Annotated[
        str | None,
        typer.Option(
            callback=_completing(install_callback),
            is_eager=True,
            help=f"install the completion of words for this shell: {', '.join(SHELLS)}",
            metavar="SHELL",
            autocompletion=one_of(SHELLS),
        ),
    ] = None,
    show_completion: Annotated[
        str | None,
        typer.Option(
            callback=_completing(show_callback),
            is_eager=True,
            help="print the script of this shell that completes words",
            metavar="SHELL",
            autocompletion=one_of(SHELLS),
        ),
    ] = None,
) -> None:
    """Read the options before the command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code."""
    open_streams()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    if is_requested():
        return answer(app, COMMANDS)
    _read_columns()
    try:
        with telling_authors():
            load_mixers(arguments, COMMANDS)
            code = app(args=[*arguments] or ["--help"], prog_name="vitprof", standalone_mode=False)
        sys.stdout.flush()
    except VitprofError as error:
        complain(str(error))
        return BAD_REQUEST
    except TyperException as error:
        complain(refusal(error))
        return BAD_REQUEST
    except (KeyboardInterrupt, typer.Abort):  # outside a command
        complain("interrupted")
        return INTERRUPTED
    except OSError as error:  # of a file or a process of which no command has a better sentence
        what = f" {error.filename}" if error.filename else ""
        reason = (error.strerror or str(error)).lower()
        complain(f"the operating system refuses{what}: {reason}")
        return BAD_REQUEST
    if code == INTERRUPTED:  # Typer's return value for a KeyboardInterrupt within a command
        complain("interrupted")
    return code if isinstance(code, int) else 0


def _read_columns() -> None:
    """Have rich, which prints help, take COLUMNS as vitprof does: in 0 it would print nothing."""
    if "COLUMNS" in os.environ:
        width = given_columns()
        if width is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = str(width)
