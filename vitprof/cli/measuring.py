"""Options of commands that measure time, and of those that take a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from typing import Protocol as Interface

import typer

from vitprof.cli.completion import gpus, one_of
from vitprof.cli.gathering import gathering, parameter
from vitprof.cli.help import OPTIONS_OF_MEASUREMENT
from vitprof.cli.streams import complain
from vitprof.cli.workload_options import parameters
from vitprof.errors import SpecError
from vitprof.measuring.timing import Protocol
from vitprof.report.unsettled import spreads

Limits = Mapping[str, Any]  # given options of the timing protocol
MemoryBudget = Mapping[str, Any]  # given options of `memory`, `gpu` and `torch`

_TIME, _BUDGET = "Time", "Memory budget"

Timed = Annotated[
    bool,
    typer.Option(
        "--measure", help="measure the time of a step on this machine", rich_help_panel=_TIME
    ),
]
DeviceName = Annotated[
    str | None,
    typer.Option(
        help="device of the models, for the prediction of memory and the measurement of time: cpu, "
        "cuda or cuda:1",
        metavar="NAME",
        show_default="cuda; cpu with --measure",
        autocompletion=one_of(("cuda", "cpu")),
        rich_help_panel=_TIME,
    ),
]


def takes_limits(
    *, section: str = OPTIONS_OF_MEASUREMENT
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the options of the timing protocol, gathered as `limits`.

    Args:
        section: section of the help that they stand in.
    """
    options = parameters(Protocol, section)
    return lambda command: gathering(command, "limits", options, lambda given: given)


def protocol_of(limits: Limits, *, measure: bool) -> Protocol:
    """Return the timing protocol with these limits.

    Raises:
        SpecError: a limit is invalid, or limits are given and nothing is measured.
    """
    if limits and not measure:
        raise SpecError(
            f"{', '.join(f'--{name}' for name in limits)} needs --measure; "
            "add it, or leave out the limits of the measurement"
        )
    return Protocol(**limits)


class Measured(Interface):
    """Report of measured times.

    Attributes:
        bound: spread to reach, the interquartile range over the median.
        unsettled: spreads above it, by name.
    """

    @property
    def bound(self) -> float: ...
    @property
    def unsettled(self) -> Mapping[str, float]: ...


def tell_unsettled(report: Measured) -> None:
    """Print a sentence on times whose spread stayed above the bound, if there are any."""
    number = len(report.unsettled)
    if number:
        times = "1 time" if number == 1 else f"{number:,} times"
        complain(
            f"{times} did not settle to {report.bound:.0%}, {spreads(report.unsettled)}; give a "
            "longer --budget"
        )


def takes_memory_budget(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--memory`, `--gpu` and `--torch` to a command, gathered as its `memory_budget`."""
    texts = {
        "memory": ("SIZE", "memory that a step may take, such as 24GiB"),
        "gpu": (
            "NAME",
            "GPU that a step has to fit, such as rtx3090; vitprof gpus lists them",
        ),
        "torch": (
            "VERSION",
            "version of PyTorch on that GPU; the newest whose rules are known by default",
        ),
    }
    completions = {"gpu": one_of(gpus)}
    options = {
        name: parameter(
            name,
            str,
            typer.Option(
                help=text,
                metavar=word,
                rich_help_panel=_BUDGET,
                autocompletion=completions.get(name),
            ),
        )
        for name, (word, text) in texts.items()
    }
    return gathering(command, "memory_budget", options, lambda given: given)
