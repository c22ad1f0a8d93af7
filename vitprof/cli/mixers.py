"""`vitprof mixers`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof import profile
from vitprof.cli.options import ALL_COUNTERS, Counters, ListFormat, split_names
from vitprof.cli.output import progress, show_catalogue
from vitprof.formulas.mixers import find_all_mixers, find_mixer
from vitprof.report import catalogue
from vitprof.specs import specify

_GRID = {"tokens": 49}  # a square number, near the default


def mixers(
    *,
    mixer: Annotated[
        str | None,
        typer.Argument(
            help="show this one: its equations, its options, and what each tool makes of it",
            metavar="NAME",
            show_default="list them all",
        ),
    ] = None,
    counters: Counters = ALL_COUNTERS,
    format: ListFormat = "table",
) -> None:
    """List the mixers with their formulas and sources, or show one."""
    if mixer is None:
        show_catalogue(catalogue.mixers(find_all_mixers()), format)
        return
    found, said = find_mixer(mixer), None
    if split_names(counters) != ["analytic"]:
        spec = specify("layer", mixer=found.name, options=_GRID if found().needs_grid else {})
        with progress() as say:
            said = profile.macs(spec, counters=split_names(counters), say=say)
    show_catalogue(catalogue.portrait(found, said), format)
