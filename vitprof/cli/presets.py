"""`vitprof presets`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.cli.options import ListFormat
from vitprof.cli.output import show_catalogue
from vitprof.report.presets import list_presets, portrait


def presets(
    *,
    preset: Annotated[
        str | None,
        typer.Argument(
            help="show this one: its options, and its published figures beside our counts",
            metavar="NAME",
            show_default="list them all",
        ),
    ] = None,
    format: ListFormat = "table",
) -> None:
    """List the published configurations with parameters and MACs, or show one."""
    from vitprof.presets import PRESETS, find_preset

    if preset is None:
        show_catalogue(list_presets(PRESETS.values()), format)
    else:
        show_catalogue(portrait(find_preset(preset)), format)
