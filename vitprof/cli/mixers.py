"""`vitprof mixers`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api import catalogue
from vitprof.cli.options import ALL_COUNTERS, Counters, split_names, takes_destination
from vitprof.cli.output import Destination, progress

EXAMPLE = "vitprof mixers lambda"


@takes_destination()
def mixers(
    *,
    to: Destination,
    mixer: Annotated[
        str | None,
        typer.Argument(
            help="mixer to show, with its equations, its options and the count of each tool",
            metavar="NAME",
            show_default="list all",
        ),
    ] = None,
    counters: Counters = ALL_COUNTERS,
) -> None:
    """List the mixers with their formulas and sources, or show one in detail."""
    with progress() as say:
        report = catalogue.mixers(mixer, counters=split_names(counters), say=say)
    to.show(report)
