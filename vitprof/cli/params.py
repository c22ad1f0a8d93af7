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
    Why,
    split_names,
    takes_request,
)
from vitprof.cli.output import destination, progress


@takes_request
def params(
    *,
    request: Request,
    counters: Counters = ALL_COUNTERS,
    why: Why = False,
    fold: Fold = None,
    levels: Levels = None,
    format: FormatName = None,
    output: Output = None,
) -> None:
    """Count parameters, layer by layer, beside what the tools say."""
    target = destination(format, output)
    with progress() as say:
        report = profile.params(
            request.specify(),
            counters=split_names(counters),
            fold=target.format.for_people if fold is None else fold,
            levels=levels,
            say=say,
        )
    target.show(report, *([report.why()] if why else []))
