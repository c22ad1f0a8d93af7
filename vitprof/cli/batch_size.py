"""`vitprof batch-size`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api.batch_size import CAP, FIRST, PATIENCE
from vitprof.api.batch_size import batch_size as find_batch
from vitprof.api.by_trial import DEVICES, TIMEOUT
from vitprof.cli.completion import one_of
from vitprof.cli.exits import INTERRUPTED, UNMET
from vitprof.cli.measuring import MemoryBudget, takes_memory_budget
from vitprof.cli.options import Words, takes_destination, takes_request
from vitprof.cli.output import Destination, progress
from vitprof.cli.streams import tell
from vitprof.cli.workload_options import takes_workload
from vitprof.measuring.search import MAX_BATCH, START, Trial
from vitprof.report.batch_size import TriedBatch
from vitprof.request.workload import Workload

EXAMPLE = "vitprof batch-size --preset deit-s --gpu rtx3090"
_SEARCH = "Search"


@takes_request
@takes_workload(without=("batch", "device"))
@takes_memory_budget
@takes_destination(brief=True)
def batch_size(
    *,
    request: Words,
    workload: Workload,
    memory_budget: MemoryBudget,
    to: Destination,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace/--no-trace",
            help="check a prediction against a real step on fake tensors",
            rich_help_panel=_SEARCH,
        ),
    ] = True,
    device: Annotated[
        str | None,
        typer.Option(
            help=f"device on which real steps are tried: {', '.join(DEVICES)}",
            metavar="NAME",
            autocompletion=one_of(DEVICES),
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            help="with --device, memory that a batch may take, such as 24GiB; required for cpu",
            metavar="SIZE",
            show_default="free memory of the GPU",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="bisect: double or halve from --start; predict: small steps from a prediction; "
            "then both bisect",
            metavar="NAME",
            show_default="predict",
            autocompletion=one_of(("bisect", "predict")),
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help=FIRST.help,
            metavar=FIRST.metavar,
            show_default=f"{START} for bisect; the prediction for predict",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    max_batch: Annotated[
        str | None,
        typer.Option(
            help=CAP.help,
            metavar=CAP.metavar,
            show_default=f"{MAX_BATCH} of trials; none of a prediction",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    timeout: Annotated[
        str, typer.Option(help=PATIENCE.help, metavar=PATIENCE.metavar, rich_help_panel=_SEARCH)
    ] = str(TIMEOUT),
) -> None:
    """Find the largest batch that fits a device, by trial or by prediction.

    With --memory or --gpu, the batch follows from the formula of a step's peak memory, which
    needs no device, and is checked against a trace of a step of this batch and of the next.
    With --device, real steps are tried, each trial in a separate process.

    In a trial, a batch fits if two steps finish and their measured peak is within the
    budget. A batch that runs out of memory does not fit; any other failure ends the search.

    Exit codes: 0 if a largest batch is found; 1 if not even 1 image fits, formula and trace
    differ, or a trial takes too long; 2 if a trial fails for another reason; 130 if the
    search is interrupted, after printing the result so far.
    """
    with progress() as say:
        report = find_batch(
            workload=workload,
            **memory_budget,
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
        tell("")
        tell(f"=> batch_size = {found}")
    to.show(report, unmet=INTERRUPTED if interrupted else UNMET)


def _log(trial: Trial) -> None:
    tell(trial.line)
