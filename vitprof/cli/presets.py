"""`vitprof presets`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api.presets import presets as report_presets
from vitprof.cli.options import takes_destination
from vitprof.cli.output import Destination

EXAMPLE = "vitprof presets deit-s"


@takes_destination()
def presets(
    *,
    to: Destination,
    preset: Annotated[
        str | None,
        typer.Argument(
            help="show this one: its options, and its published figures beside our counts",
            metavar="NAME",
            show_default="list them all",
        ),
    ] = None,
) -> None:
    """List the published configurations with parameters and MACs, or show one."""
    to.show(report_presets(preset))
