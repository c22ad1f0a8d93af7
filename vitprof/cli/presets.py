"""`vitprof presets`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api.presets import presets as report_presets
from vitprof.cli.completion import one_of
from vitprof.cli.completion import presets as names
from vitprof.cli.options import takes_destination
from vitprof.cli.output import Destination

EXAMPLE = "vitprof presets deit-s"


@takes_destination(units=True)
def presets(
    *,
    to: Destination,
    preset: Annotated[
        str | None,
        typer.Argument(
            help="preset to show, with its options and its published figures beside the counts; "
            "a pattern, such as 'deit*', lists those that match",
            metavar="NAME",
            show_default="list all",
            autocompletion=one_of(names),
        ),
    ] = None,
) -> None:
    """List the published configurations with parameters and MACs, or show one in detail."""
    to.show(report_presets(preset))
