"""`vitprof macs`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api import counts
from vitprof.cli.options import (
    USUAL_COUNTERS,
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
    counters: Counters = USUAL_COUNTERS,
    device: Device = "meta",
    train: Train = False,
    grad: Grad = False,
    training: Annotated[
        bool,
        typer.Option(
            "--training",
            help="count a training step, forward and backward pass, instead of a forward pass",
        ),
    ] = False,
    checkpoint: Annotated[
        bool,
        typer.Option(
            "--checkpoint",
            help="recompute each block in the backward pass of that step (activation "
            "checkpointing)",
        ),
    ] = False,
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
    """Count the MACs of a forward pass, or of a training step, layer by layer, beside other tools.

    With --training each contraction counts once forward and once for each operand that wants a
    gradient: by input for an activation, by weight for a parameter. What the backward pass
    computes again of the forward pass is a column of its own: all of a block with --checkpoint
    until everything that it saved is there, and the scores of fused attention.
    """
    with progress() as say:
        report = counts.macs(
            batch=batch,
            counters=split_names(counters),
            device=device,
            train=train,
            grad=grad,
            training=training,
            checkpoint=checkpoint,
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
