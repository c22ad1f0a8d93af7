"""`vitprof bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api.bench import bench as measure_speeds
from vitprof.cli.measuring import Limits, Room, protocol_of, takes_limits, takes_room
from vitprof.cli.options import (
    Mixers,
    Presets,
    Words,
    side_by_side,
    takes_destination,
    takes_request,
)
from vitprof.cli.output import Destination, progress
from vitprof.cli.workload_options import takes_workload
from vitprof.request.workload import Workload

EXAMPLE = "vitprof bench --model layer --mixers attn,lambda --tokens 64 --batch 2 --budget 1"
_MEASUREMENT = "Measurement"


@takes_request
@takes_workload(without=("inference", "device"))
@takes_room
@takes_limits
@takes_destination()
def bench(
    *,
    request: Words,
    workload: Workload,
    room: Room,
    limits: Limits,
    to: Destination,
    mixers: Mixers = None,
    presets: Presets = None,
    device: Annotated[
        str,
        typer.Option(
            help="device that the models are on: cpu, cuda or cuda:1",
            metavar="NAME",
            rich_help_panel=_MEASUREMENT,
        ),
    ] = "cpu",
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="by torch.compile", rich_help_panel=_MEASUREMENT),
    ] = False,
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
    with progress() as say:
        report = measure_speeds(
            workload=workload,
            device=device,
            compiled=compiled,
            protocol=protocol_of(limits, measure=True),
            say=say,
            **room,
            **side_by_side(mixers, presets),
            **request,
        )
    to.show(report)
