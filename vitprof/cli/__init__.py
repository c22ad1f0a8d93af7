"""The command line: one file per command, imported when the command is called.

Data goes to stdout, messages go to stderr. An invalid request prints one sentence to stderr
and exits with code 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from vitprof.cli.exits import BAD_REQUEST, INTERRUPTED
from vitprof.cli.output import ClosedStdoutError, emit
from vitprof.cli.plugins import load_mixers
from vitprof.docstrings import docstring
from vitprof.errors import VitprofError, unknown
from vitprof.version import __version__

COMMANDS = (
    "params",
    "macs",
    "memory",
    "compare",
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
            raise unknown("command", cmd_name, COMMANDS)
        app = typer.Typer(add_completion=False)
        name = cmd_name.replace("-", "_")
        module = import_module(f"vitprof.cli.{name}")
        called = getattr(module, name)
        example = f"Example: {module.EXAMPLE}"
        app.command(cmd_name, help=docstring(called), epilog=example)(called)
        command = typer.main.get_command(app)
        assert isinstance(command, TyperCommand)
        return command


app = typer.Typer(cls=Commands, rich_markup_mode="rich", pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        emit(f"vitprof {__version__}\n")
        raise typer.Exit


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
) -> None:
    """Read the options before the command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        load_mixers(arguments)
        code = app(args=list(arguments) or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except VitprofError as error:
        _say(str(error))
        return BAD_REQUEST
    except TyperException as error:
        _say(error.format_message())
        return BAD_REQUEST
    except (KeyboardInterrupt, typer.Abort):  # outside a command
        _say("interrupted")
        return INTERRUPTED
    except (ClosedStdoutError, BrokenPipeError):
        _drop_stdout()
        return 0
    except OSError as error:
        _drop_stdout()
        _say(f"cannot write to stdout: {(error.strerror or str(error)).lower()}")
        return BAD_REQUEST
    if code == INTERRUPTED:  # Typer's return value for a KeyboardInterrupt within a command
        _say("interrupted")
    return code if isinstance(code, int) else 0


def _drop_stdout() -> None:
    """Discard the buffer of stdout, which Python would else flush again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(sentence: str) -> None:
    sys.stderr.write(f"vitprof: {' '.join(sentence.split())}\n")
