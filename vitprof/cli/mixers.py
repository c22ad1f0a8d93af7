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
            help="show this one: its equations, its options, and what each tool makes of it",
            metavar="NAME",
            show_default="list them all",
        ),
    ] = None,
    counters: Counters = ALL_COUNTERS,
) -> None:
    """List the mixers with their formulas and sources, or show one."""
    with progress() as say:
        report = catalogue.mixers(mixer, counters=split_names(counters), say=say)
    to.show(report)
