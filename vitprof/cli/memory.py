"""`vitprof memory`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof import footprint
from vitprof.bytes import read_bytes
from vitprof.cli.options import Fold, FormatName, Levels, Output, Request, takes_request
from vitprof.cli.output import destination, progress
from vitprof.cli.workload_options import takes_workload
from vitprof.workload import Workload

_CARD = "Card"


@takes_request
@takes_workload()
def memory(
    *,
    request: Request,
    workload: Workload,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace/--no-trace",
            help="lay a real step on tensors without data beside the formula; "
            "without it nothing heavy is loaded",
        ),
    ] = True,
    workspace: Annotated[
        str,
        typer.Option(
            help="what a handle of cuBLAS takes; 32MiB on Hopper",
            metavar="SIZE",
            rich_help_panel=_CARD,
        ),
    ] = f"{footprint.WORKSPACE // 1024}kiB",
    context: Annotated[
        str,
        typer.Option(
            help="what the driver takes for a process", metavar="SIZE", rich_help_panel=_CARD
        ),
    ] = f"{footprint.CONTEXT // 10**6}MB",
    fold: Fold = None,
    levels: Levels = None,
    format: FormatName = None,
    output: Output = None,
) -> None:
    """Predict what a training step, or inference, holds in memory, layer by layer."""
    target = destination(format, output)
    with progress() as say:
        report = footprint.memory(
            request.specify(),
            workload,
            trace=trace,
            workspace=read_bytes("workspace", workspace),
            context=read_bytes("context", context),
            fold=target.format.for_people if fold is None else fold,
            levels=levels,
            say=say,
        )
    target.show(report)
