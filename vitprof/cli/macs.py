"""`vitprof macs`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api import counts
from vitprof.cli.options import (
    ALL_COUNTERS,
    Batch,
    By,
    Columns,
    Counters,
    Device,
    Fold,
    Force,
    Grad,
    Levels,
    Train,
    Why,
    Words,
    split_columns,
    split_names,
    takes_destination,
    takes_request,
)
from vitprof.cli.output import Destination, progress

EXAMPLE = "vitprof macs --batch 100 --tokens 50"


@takes_request
@takes_destination(brief=True, units=True)
def macs(
    *,
    request: Words,
    to: Destination,
    batch: Batch = None,
    counters: Counters = ALL_COUNTERS,
    device: Device = "meta",
    train: Train = False,
    grad: Grad = False,
    force: Force = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="exit with 1 if a module runs kernels that no rule counts"),
    ] = False,
    why: Why = False,
    fold: Fold = None,
    levels: Levels = None,
    columns: Columns = None,
    by: By = None,
) -> None:
    """Count the MACs of a forward pass, layer by layer, beside the counts of other tools."""
    with progress() as say:
        report = counts.macs(
            batch=batch,
            counters=split_names(counters),
            device=device,
            train=train,
            grad=grad,
            force=force,
            strict=strict,
            fold=to.format.for_people if fold is None else fold,
            levels=levels,
            why=why,
            columns=split_columns(columns),
            by=by,
            say=say,
            **request,
        )
    to.show(report)
