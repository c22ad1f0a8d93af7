"""`vitprof memory`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api.memory import CONTEXT, WORKSPACE
from vitprof.api.memory import memory as report_memory
from vitprof.cli.options import Fold, Levels, Words, takes_destination, takes_request
from vitprof.cli.output import Destination, progress
from vitprof.cli.workload_options import takes_workload
from vitprof.request.workload import Workload
from vitprof.values.bytes import read_bytes

EXAMPLE = "vitprof memory --preset vit-b-16 --batch 32 --dtype bf16 --autocast"
_GPU = "GPU"


@takes_request
@takes_workload()
@takes_destination()
def memory(
    *,
    request: Words,
    workload: Workload,
    to: Destination,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace/--no-trace",
            help="lay a real step on fake tensors beside the formula; "
            "without it nothing heavy is loaded",
        ),
    ] = True,
    workspace: Annotated[
        str,
        typer.Option(
            help="what a handle of cuBLAS takes; 32MiB on Hopper",
            metavar="SIZE",
            rich_help_panel=_GPU,
        ),
    ] = f"{WORKSPACE // 1024}kiB",
    context: Annotated[
        str,
        typer.Option(
            help="what the driver takes for a process", metavar="SIZE", rich_help_panel=_GPU
        ),
    ] = f"{CONTEXT // 10**6}MB",
    fold: Fold = None,
    levels: Levels = None,
) -> None:
    """Predict what a training step, or inference, holds in memory, layer by layer."""
    with progress() as say:
        report = report_memory(
            workload=workload,
            trace=trace,
            workspace=read_bytes("workspace", workspace),
            context=read_bytes("context", context),
            fold=to.format.for_people if fold is None else fold,
            levels=levels,
            say=say,
            **request,
        )
    to.show(report)
