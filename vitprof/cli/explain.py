"""`vitprof explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api import explain as api
from vitprof.cli.completion import several_of
from vitprof.cli.options import (
    USUAL_COUNTERS,
    Batch,
    Counters,
    Device,
    Fold,
    Force,
    Grad,
    Train,
    Words,
    split_names,
    takes_destination,
    takes_request,
)
from vitprof.cli.output import Destination, progress

EXAMPLE = "vitprof explain --batch 100 --tokens 50"


@takes_request
@takes_destination(brief=True)
def explain(
    *,
    request: Words,
    to: Destination,
    layer: Annotated[
        str,
        typer.Option(
            help="path of the layer to derive, such as blocks.0.mixer; that of a mixer comes with "
            "the equations of its paper",
            metavar="PATH",
            show_default="the whole model",
        ),
    ] = "",
    measures: Annotated[
        str,
        typer.Option(
            help=f"counts to derive, separated by commas: {', '.join(api.MEASURES)}",
            metavar="NAMES",
            autocompletion=several_of(api.MEASURES),
        ),
    ] = ",".join(api.MEASURES),
    batch: Batch = None,
    counters: Counters = USUAL_COUNTERS,
    device: Device = "meta",
    train: Train = False,
    grad: Grad = False,
    training: Annotated[
        bool,
        typer.Option("--training", help="derive the MACs of a training step, too"),
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
    fold: Fold = None,
) -> None:
    """Derive parameters and MACs as on paper.

    Each layer has its formula, the numbers put in and the value; equal layers are derived once
    and multiplied. Work that is not counted has its own formulas, and the count of each tool is
    written as a sum of the count and of what each cause adds to it.
    """
    with progress() as say:
        report = api.explain(
            layer=layer,
            measures=split_names(measures),
            batch=batch,
            counters=split_names(counters),
            device=device,
            train=train,
            grad=grad,
            training=training,
            checkpoint=checkpoint,
            force=force,
            fold=to.format.for_people if fold is None else fold,
            say=say,
            **request,
        )
    to.show(report)
