"""`vitprof params`."""

from __future__ import annotations

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
from vitprof.cli.output import progress, show
from vitprof.report.formats import find_format


@takes_request
def params(
    *,
    request: Request,
    counters: Counters = ALL_COUNTERS,
    fold: Fold = None,
    levels: Levels = None,
    format: FormatName = None,
    output: Output = None,
) -> None:
    """Count parameters, layer by layer, beside what the tools say."""
    chosen = find_format(format, output)
    with progress() as say:
        report = profile.params(
            request.specify(),
            counters=split_names(counters),
            fold=chosen.for_people if fold is None else fold,
            levels=levels,
            say=say,
        )
    show(report, chosen, output)
