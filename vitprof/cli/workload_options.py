"""Options of a command made from a declaration, such as that of the workload."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields
from inspect import Parameter
from typing import Any

import typer

from vitprof.cli.completion import one_of, several_of
from vitprof.cli.gathering import gathering, parameter
from vitprof.cli.help import OPTIONS_OF_STEP
from vitprof.request.workload import DTYPES, NAMES_OF_DTYPES, Workload, workloads_of
from vitprof.values.options import Choice, Flag, Option, Options, plain


def takes_workload(
    *, without: Collection[str] = (), section: str = OPTIONS_OF_STEP, dtypes: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the workload's options, gathered as `workload`.

    That is a `Workload`; with `dtypes`, keyword arguments of `vitprof.memory`. An invalid value
    raises SpecError, as it does in Python.

    Args:
        without: options that the command does not have; they keep their defaults.
        section: section of the help that they stand in.
        dtypes: True if `--dtype` may name several.
    """
    unknown = {*without} - Workload.declared().keys()
    assert not unknown, unknown

    def take(command: Callable[..., None]) -> Callable[..., None]:
        options = parameters(Workload, section, without=without)
        if dtypes:
            options["dtype"] = _several_dtypes(options["dtype"], section)
            return gathering(command, "workload", options, _settings)
        return gathering(command, "workload", options, lambda given: Workload(**given))

    return take


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a step as arguments: a workload, or several dtypes and the rest."""
    if "dtype" not in given or given["dtype"] in DTYPES:
        return {"workload": Workload(**given)}
    names = [name.strip() for name in given["dtype"].split(",") if name.strip()]
    if len(names) == 1:
        (workload,) = workloads_of(names, given).values()
        return {"workload": workload}
    return {**given, "dtype": names}


def _several_dtypes(one: Parameter, section: str) -> Parameter:
    info = typer.Option(
        help=f"dtype of weights and activations: {', '.join(NAMES_OF_DTYPES)}; several, separated "
        "by commas, are laid side by side",
        metavar="NAMES",
        show_default="fp32",
        autocompletion=several_of(NAMES_OF_DTYPES),
        rich_help_panel=section,
    )
    return parameter(one.name, str, info)


def parameters(
    owner: type[Options], panel: str, *, without: Collection[str] = ()
) -> dict[str, Parameter]:
    """Return the declared options as options of a command, each None by default."""
    return {
        name: _parameter(owner, name, option, panel)
        for name, option in owner.declared().items()
        if name not in without
    }


def _parameter(owner: type[Options], name: str, option: Option, panel: str) -> Parameter:
    default: Any = next(field.default for field in fields(owner) if field.name == name)
    is_flag = isinstance(option, Flag)
    names = f": {', '.join(option.names)}" if isinstance(option, Choice) else ""
    info: Any = typer.Option(
        *([f"--{name.replace('_', '-')}"] if is_flag else []),
        help=option.help + names,
        metavar=option.metavar,
        show_default=False if is_flag else str(plain(default)),
        autocompletion=one_of(option.names) if isinstance(option, Choice) else None,
        rich_help_panel=panel,
    )
    return parameter(name, bool if is_flag else str, info)
