"""`vitprof batch-size`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vitprof.api.batch_size import CAP, FIRST, PATIENCE
from vitprof.api.batch_size import batch_size as find_batch
from vitprof.api.by_trial import DEVICES, TIMEOUT
from vitprof.cli.exits import INTERRUPTED, UNMET
from vitprof.cli.options import Words, takes_destination, takes_request
from vitprof.cli.output import Destination, progress
from vitprof.cli.workload_options import takes_workload
from vitprof.measuring.search import MAX_BATCH, START, Trial
from vitprof.report.batch_size import TriedBatch
from vitprof.request.workload import Workload

EXAMPLE = "vitprof batch-size --preset deit-s --gpu rtx3090"
_SEARCH = "Search"


@takes_request
@takes_workload(without=("batch", "device"))
@takes_destination()
def batch_size(
    *,
    request: Words,
    workload: Workload,
    to: Destination,
    memory: Annotated[
        str | None,
        typer.Option(
            help="predict for this much memory, such as 24GiB, without a device",
            metavar="SIZE",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="predict for a named GPU, such as rtx3090, without a device",
            metavar="NAME",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace/--no-trace",
            help="confirm a prediction by a real step on fake tensors",
            rich_help_panel=_SEARCH,
        ),
    ] = True,
    device: Annotated[
        str | None,
        typer.Option(
            help=f"device that the model is on when it is tried: {', '.join(DEVICES)}",
            metavar="NAME",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            help="memory that a batch may take, such as 24GiB: a smaller GPU, or a CPU for one",
            metavar="SIZE",
            show_default="what is free on the GPU; none of a CPU",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="bisect, from --start by halves; or predict, from a prediction by small steps",
            metavar="NAME",
            show_default="predict where there is a prediction, else bisect",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help=FIRST.help,
            metavar=FIRST.metavar,
            show_default=f"bisect {START}; predict the prediction",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    max_batch: Annotated[
        str, typer.Option(help=CAP.help, metavar=CAP.metavar, rich_help_panel=_SEARCH)
    ] = str(MAX_BATCH),
    timeout: Annotated[
        str, typer.Option(help=PATIENCE.help, metavar=PATIENCE.metavar, rich_help_panel=_SEARCH)
    ] = str(TIMEOUT),
) -> None:
    """Find the largest batch that fits a device, by trying it or by predicting it.

    With --device, real steps are tried, each try in a process of its own. With --memory or
    --gpu, the batch is solved for by the formula of a step's peak memory, which needs no
    device, and confirmed by a trace of it and of the next.

    A batch fits where two steps run through and their measured peak is within the budget.
    One that runs out of memory does not; any other failure ends the search.

    Exits with 0 where a largest batch is found, 1 where not even 1 fits or a trial takes
    too long, 2 where a trial fails otherwise, 130 where it is interrupted, and then shows
    what was found until then.
    """
    with progress() as say:
        report = find_batch(
            workload=workload,
            memory=memory,
            gpu=gpu,
            trace=trace,
            device=device,
            limit=limit,
            strategy=strategy,
            start=start,
            max_batch=max_batch,
            timeout=timeout,
            say=say,
            tell=_log,
            **request,
        )
    interrupted = False
    if isinstance(report, TriedBatch):
        found, interrupted = report.batch or "none", report.interrupted
        sys.stderr.write(f"\n=> batch_size = {found}\n")
    to.show(report, unmet=INTERRUPTED if interrupted else UNMET)


def _log(trial: Trial) -> None:
    sys.stderr.write(f"{trial.line}\n")
    sys.stderr.flush()
