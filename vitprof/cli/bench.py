"""`vitprof bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api.bench import bench as measure_speeds
from vitprof.cli.completion import one_of
from vitprof.cli.measuring import (
    Limits,
    MemoryBudget,
    protocol_of,
    takes_limits,
    takes_memory_budget,
    tell_unsettled,
)
from vitprof.cli.options import (
    Mixers,
    Modules,
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
@takes_memory_budget
@takes_limits(section="Time")
@takes_destination(brief=True)
def bench(
    *,
    request: Words,
    workload: Workload,
    memory_budget: MemoryBudget,
    limits: Limits,
    to: Destination,
    mixers: Mixers = None,
    presets: Presets = None,
    modules: Modules = None,
    device: Annotated[
        str,
        typer.Option(
            help="device of the models: cpu, cuda or cuda:1",
            metavar="NAME",
            autocompletion=one_of(("cpu", "cuda")),
            rich_help_panel=_MEASUREMENT,
        ),
    ] = "cpu",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="compile the models with torch.compile", rich_help_panel=_MEASUREMENT
        ),
    ] = False,
) -> None:
    """Measure the time of a forward pass and of a training step of several mixers.

    The forward pass runs in eval mode without gradients; a training step is a forward
    pass, a backward pass and a step of the optimizer. Each runs twice to warm up and
    is then timed with torch.utils.benchmark. All steps take turns of at least 0.2 s,
    and the first call of a turn is not measured. There are at least 3 turns; the
    measurement ends when the interquartile range of each step is at most --spread of
    its median, or after --budget seconds. The device is synchronised before and after
    the calls of a turn.

    The table shows median and quartiles. MACs are by formula, those of a training step
    without what is recomputed, and MACs per second are compared with the fastest product
    of two square matrices of the same dtype on the same device, measured in the same
    run. On a GPU that vitprof gpus lists, MFU and HFU of a training step are its MACs
    per second without and with recomputation, over the peak of the data sheet. Peak
    memory is measured on a GPU: the memory that PyTorch allocates for the model and
    the step. Predicted memory and the largest batch are by formula.
    """
    with progress() as say:
        report = measure_speeds(
            workload=workload,
            device=device,
            compiled=compiled,
            protocol=protocol_of(limits, measure=True),
            say=say,
            **memory_budget,
            **side_by_side(mixers, presets, modules),
            **request,
        )
    tell_unsettled(report)
    to.show(report)
