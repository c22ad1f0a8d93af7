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
    Why,
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
    device: Annotated[
        str,
        typer.Option(
            help="where the tools find the model: meta, where nothing is executed, or cpu",
            metavar="NAME",
        ),
    ] = "meta",
    train: Annotated[bool, typer.Option("--train/--eval", help="mode of the model")] = False,
    grad: Annotated[bool, typer.Option("--grad/--no-grad", help="gradients on or off")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="execute a model on the CPU however large")
    ] = False,
    why: Why = False,
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
            device=device,
            train=train,
            grad=grad,
            force=force,
            fold=target.format.for_people if fold is None else fold,
            levels=levels,
            say=say,
        )
    target.show(report, *([report.why()] if why else []))
