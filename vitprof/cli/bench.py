"""`vitprof bench`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vitprof import bench as benching
from vitprof.candidates import specified
from vitprof.cli.measuring import (
    Limits,
    Room,
    bytes_of,
    protocol_of,
    takes_limits,
    takes_room,
)
from vitprof.cli.options import Request, takes_request
from vitprof.cli.output import print_table, progress
from vitprof.cli.workload_options import takes_workload
from vitprof.errors import unknown
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.workload import Workload

_FORMATS = ("table", "csv", "json")
_MEASUREMENT = "Measurement"


@takes_request
@takes_workload(without=("inference", "device"))
@takes_room
@takes_limits
def bench(
    *,
    request: Request,
    workload: Workload,
    room: Room,
    limits: Limits,
    mixers: Annotated[
        str | None,
        typer.Option(
            help=f"several in turn, and ratios to the first: {','.join(MIXERS)}",
            metavar="NAMES",
            show_default="that of --mixer",
            rich_help_panel=_MEASUREMENT,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(help="cpu, cuda or cuda:1", metavar="NAME", rich_help_panel=_MEASUREMENT),
    ] = "cpu",
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="by torch.compile", rich_help_panel=_MEASUREMENT),
    ] = False,
    format: Annotated[
        str,
        typer.Option(
            help=f"how to write it down: {', '.join(_FORMATS)}",
            metavar="NAME",
            rich_help_panel="Output",
        ),
    ] = "table",
) -> None:
    """Measure the time of a forward pass and of a training step, of mixers in turn.

    A forward pass is in eval mode, without gradients; a training step is a
    forward pass, a backward pass and a step of the optimizer. Each is run twice
    to warm up and then timed by torch.utils.benchmark. All take turns of at
    least 0.2 s, beginning with a call that is not measured; at least 3 turns,
    until the interquartile range of each is at most --spread of its median, or
    --budget is over. The device is synchronised before and after a turn's calls.

    Shown are median and quartiles. Multiply-accumulates are the formula's, of
    the forward pass alone, and their speed is laid beside the fastest product of
    two square matrices of that dtype on that device, measured in the same run.
    Peak memory is what PyTorch allocates on a GPU for a step and its model; what is
    predicted is by formula.
    """
    if format not in _FORMATS:
        raise unknown("format of a benchmark", format, _FORMATS)
    models = _models(request, mixers)
    protocol, budget = protocol_of(limits, measure=True), bytes_of(room)
    with progress() as say:
        say("starting PyTorch")
        result = benching.bench(
            models,
            workload,
            protocol,
            device=device,
            compiled=compiled,
            memory_bytes=budget,
            say=say,
        )
    if format == "table":
        print_table(result)
    else:
        sys.stdout.write(result.to_json() if format == "json" else result.to_csv())


def _models(request: Request, mixers: str | None) -> list[Model]:
    """The model with each of the mixers.

    Raises:
        SpecError: there is no such model, mixer or option.
    """
    return [*specified(request.candidates(mixers), request.options).values()]
