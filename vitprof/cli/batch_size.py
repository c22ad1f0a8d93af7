"""`vitprof batch-size`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from vitprof.allocation.largest_batch import largest_batch as solve
from vitprof.batch_size import by_trial
from vitprof.batch_size.gpus import read_budget
from vitprof.batch_size.prediction import predict
from vitprof.batch_size.search import MAX_BATCH, START, STRATEGIES, Stopped, Trial
from vitprof.bytes import read_bytes
from vitprof.cli import INTERRUPTED
from vitprof.cli.options import ListFormat, Request, takes_request
from vitprof.cli.output import UNMET, emit, print_table, progress
from vitprof.cli.workload_options import takes_workload
from vitprof.errors import SpecError, unknown
from vitprof.options import Whole
from vitprof.report.prediction import Prediction
from vitprof.report.search import BatchSize
from vitprof.workload import Workload

_FORMATS = ("table", "json")
_SEARCH = "Search"
_MAXIMUM = 1_000_000_000
_START = Whole("first batch to try", maximum=_MAXIMUM)
_MAX_BATCH = Whole("cap on the batch", maximum=_MAXIMUM)
_TIMEOUT = Whole("seconds that a trial may take")


@takes_request
@takes_workload(without=("batch", "device"))
def batch_size(
    *,
    request: Request,
    workload: Workload,
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
            help="predict for a named card, such as rtx3090, without a device",
            metavar="NAME",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace/--no-trace",
            help="confirm a prediction by a real step on tensors without data",
            rich_help_panel=_SEARCH,
        ),
    ] = True,
    device: Annotated[
        str | None,
        typer.Option(
            help=f"where to try: {', '.join(by_trial.DEVICES)}",
            metavar="NAME",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            help="memory that a batch may take, such as 24GiB: a smaller card, or a CPU for one",
            metavar="SIZE",
            show_default="what is free on the card; none of a CPU",
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
            help=_START.help,
            metavar=_START.metavar,
            show_default=f"bisect {START}; predict the prediction",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    max_batch: Annotated[
        str,
        typer.Option(help=_MAX_BATCH.help, metavar=_MAX_BATCH.metavar, rich_help_panel=_SEARCH),
    ] = str(MAX_BATCH),
    timeout: Annotated[
        str, typer.Option(help=_TIMEOUT.help, metavar=_TIMEOUT.metavar, rich_help_panel=_SEARCH)
    ] = str(by_trial.TIMEOUT),
    format: ListFormat = "table",
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
    if format not in _FORMATS:
        raise unknown("format of a search", format, _FORMATS)
    if strategy is not None and strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    model = request.specify()
    if memory is not None or gpu is not None:
        if (device, limit, strategy, start) != (None,) * 4:
            raise SpecError("--memory and --gpu predict without a device; leave out its options")
        budget = read_budget(memory, gpu)
        with progress() as say:
            prediction = predict(model, workload, budget, trace=trace, say=say)
        _print(prediction, format)
        raise typer.Exit(0 if prediction.largest and prediction.confirmed is not False else UNMET)
    if device is None:
        raise SpecError(
            "there is no device to try on; give --device cuda, or cpu with --limit, "
            "or predict without one by --memory or --gpu"
        )
    limit_bytes = None if limit is None else read_bytes("limit", limit)

    workload = replace(workload, device="cuda" if device == "cuda" else "cpu")

    def predicted(budget: int) -> int:
        return max(1, solve(model, workload, budget))

    with progress() as say:
        result = by_trial.largest_batch(
            model,
            workload,
            device=device,
            strategy=strategy,
            start=None if start is None else _START.read("start", start),
            limit_bytes=limit_bytes,
            max_batch=_MAX_BATCH.read("max_batch", max_batch),
            timeout=_TIMEOUT.read("timeout", timeout),
            predicted=predicted,
            say=say,
            tell=_log,
        )
    found = "none" if result.largest is None else result.largest
    sys.stderr.write(f"\n=> batch_size = {found}\n")
    _print(result, format)
    if result.search.stopped is Stopped.INTERRUPTED:
        raise typer.Exit(INTERRUPTED)
    if result.largest is None or not result.search.complete:
        raise typer.Exit(UNMET)


def _print(report: BatchSize | Prediction, format: str) -> None:
    if format == "table":
        print_table(report)
    else:
        emit(report.to_json())


def _log(trial: Trial) -> None:
    sys.stderr.write(f"{trial.line}\n")
    sys.stderr.flush()
