"""The options of commands that take times, and of those that know how much memory there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from vitprof.cli.options import gathering, parameter
from vitprof.cli.workload_options import parameters
from vitprof.errors import SpecError
from vitprof.measuring.timing import Protocol

Limits = Mapping[str, Any]  # of the protocol's options, those that are given
Room = Mapping[str, Any]  # of `memory` and `gpu`, what is given

_TIME, _BATCH = "Time", "Largest batch"

Timed = Annotated[
    bool, typer.Option("--measure", help="take the time of a step here", rich_help_panel=_TIME)
]
DeviceName = Annotated[
    str | None,
    typer.Option(
        help="device that the models are on, of whose kernels the memory is and where the time is "
        "taken: cpu, cuda or cuda:1",
        metavar="NAME",
        show_default="cuda; cpu with --measure",
        rich_help_panel=_TIME,
    ),
]


def takes_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the timing protocol, gathered as its `limits`."""
    options = parameters(Protocol, _TIME)
    return gathering(command, "limits", options, lambda given: given)


def protocol_of(limits: Limits, *, measure: bool) -> Protocol:
    """The protocol within these limits.

    Raises:
        SpecError: a limit is wrong, or there are limits and nothing is measured.
    """
    if limits and not measure:
        raise SpecError(
            f"{', '.join(f'--{name}' for name in limits)} says how time is taken; "
            "give --measure with it"
        )
    return Protocol(**limits)


def takes_room(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--memory` and `--gpu`, gathered as its `room`."""
    said = {
        "memory": ("SIZE", "find the largest batch that fits so much, such as 24GiB"),
        "gpu": ("NAME", "the same for a named GPU, such as rtx3090"),
    }
    options = {
        name: parameter(name, str, typer.Option(help=text, metavar=word, rich_help_panel=_BATCH))
        for name, (word, text) in said.items()
    }
    return gathering(command, "room", options, lambda given: given)
