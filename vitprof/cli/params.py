"""`vitprof params`."""

from __future__ import annotations

from vitprof.api import counts
from vitprof.cli.options import (
    USUAL_COUNTERS,
    By,
    Columns,
    Counters,
    Fold,
    Levels,
    Why,
    Words,
    split_columns,
    split_names,
    takes_destination,
    takes_request,
)
from vitprof.cli.output import Destination, progress

EXAMPLE = "vitprof params --mixer lambda"


@takes_request
@takes_destination(brief=True, units=True)
def params(
    *,
    request: Words,
    to: Destination,
    counters: Counters = USUAL_COUNTERS,
    why: Why = False,
    fold: Fold = None,
    levels: Levels = None,
    columns: Columns = None,
    by: By = None,
) -> None:
    """Count the parameters, layer by layer, beside the counts of other tools."""
    with progress() as say:
        report = counts.params(
            counters=split_names(counters),
            fold=to.format.for_people if fold is None else fold,
            levels=levels,
            why=why,
            columns=split_columns(columns),
            by=by,
            say=say,
            **request,
        )
    to.show(report)
