"""The options of a workload, made from its declarations, for the commands that run a step."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields
from inspect import Parameter
from typing import Any

import typer

from vitprof.cli.options import gathering, parameter
from vitprof.options import Choice, Flag, Option
from vitprof.workload import Workload

_PANEL = "Step"


def takes_workload(
    *, without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the workload's options, gathered as its `workload`.

    Below `takes_request`, which gives it those of models and mixers. What is said of one
    value raises SpecError, as it does in Python.

    Args:
        without: options that the command does not take; they keep their defaults.
    """
    unknown = {*without} - Workload.declared().keys()
    assert not unknown, unknown

    def take(command: Callable[..., None]) -> Callable[..., None]:
        options = {
            name: _parameter(name, option)
            for name, option in Workload.declared().items()
            if name not in without
        }
        return gathering(command, "workload", options, lambda given: Workload(**given))

    return take


def _parameter(name: str, option: Option) -> Parameter:
    (default,) = (field.default for field in fields(Workload) if field.name == name)
    is_flag = isinstance(option, Flag)
    names = f": {', '.join(option.names)}" if isinstance(option, Choice) else ""
    info: Any = typer.Option(
        *([f"--{name}"] if is_flag else []),
        help=option.help + names,
        metavar=option.metavar,
        show_default=False if is_flag else str(default),
        rich_help_panel=_PANEL,
    )
    return parameter(name, bool if is_flag else str, info)
