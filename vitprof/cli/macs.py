"""`vitprof macs`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof import profile
from vitprof.cli.options import (
    ALL_COUNTERS,
    Counters,
    Fold,
    FormatName,
    Levels,
    Output,
    Request,
    split_names,
    takes_request,
)
from vitprof.cli.output import destination, progress


@takes_request
def macs(
    *,
    request: Request,
    batch: Annotated[str, typer.Option(help=profile.BATCH.help, metavar="N")] = "1",
    counters: Counters = ALL_COUNTERS,
    force: Annotated[
        bool, typer.Option("--force", help="let fvcore execute a model however large")
    ] = False,
    fold: Fold = None,
    levels: Levels = None,
    format: FormatName = None,
    output: Output = None,
) -> None:
    """Count multiply-accumulates of a forward pass, layer by layer, beside the tools."""
    target = destination(format, output)
    with progress() as say:
        report = profile.macs(
            request.specify(),
            batch=batch,
            counters=split_names(counters),
            force=force,
            fold=target.format.for_people if fold is None else fold,
            levels=levels,
            say=say,
        )
    target.show(report)
