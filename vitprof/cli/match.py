"""`vitprof match`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitprof.api.match import MANY, MAX_POINTS, MAX_TRACES, MEASURES, POINTS, SHOWN
from vitprof.api.match import match as find_match
from vitprof.cli.completion import numbers, one_of, presets, several_of
from vitprof.cli.measuring import MemoryBudget, takes_memory_budget
from vitprof.cli.options import Words, takes_destination, takes_request
from vitprof.cli.output import Destination, destination, progress, write
from vitprof.cli.workload_options import takes_workload
from vitprof.errors import OutputError
from vitprof.formats import Format
from vitprof.request.workload import Workload

EXAMPLE = "vitprof match deit-s --mixer lambda --vary dim --by macs"
_MATCH, _OUTPUT = "Match", "Output"


@takes_request
@takes_workload()
@takes_memory_budget
@takes_destination(brief=True, units=True)
def match(
    *,
    request: Words,
    workload: Workload,
    memory_budget: MemoryBudget,
    to: Destination,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="option of the variant to vary, such as dim, or with the values to try: "
            "dim=64:1024 for all from 64 to 1024, dim=64:1024:+64 or dim=256,384,512; several "
            "with commas between, or by repetition",
            metavar="NAME[=RANGE]",
            autocompletion=several_of(numbers),
            rich_help_panel=_MATCH,
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help=f"cost that both are to have: {', '.join(MEASURES)}",
            metavar="NAME",
            autocompletion=one_of(MEASURES),
            rich_help_panel=_MATCH,
        ),
    ] = "macs",
    reference: Annotated[
        str | None,
        typer.Option(
            help="model whose cost is to be met: a preset, a model with its options, such as "
            "layer,dim=384,heads=6, or a module with its arguments, such as "
            "timm:vit_small_patch16_224,img_size=384; it has the image size, channels, classes "
            "and tokens that the variant is given",
            metavar="NAME[,KEY=VALUE,...]",
            show_default="the preset",
            autocompletion=one_of(presets),
            rich_help_panel=_MATCH,
        ),
    ] = None,
    keep_head_dim: Annotated[
        bool,
        typer.Option(
            "--keep-head-dim",
            help="let the heads follow a varied dim, with equally many channels in each",
            rich_help_panel=_MATCH,
        ),
    ] = False,
    show: Annotated[
        str | None,
        typer.Option(
            help=f"{SHOWN.help}, the nearest first",
            metavar=SHOWN.metavar,
            show_default=f"the nearest below and above; {MANY} if several options are varied",
            rich_help_panel=_MATCH,
        ),
    ] = None,
    max_points: Annotated[
        str | None,
        typer.Option(
            help=POINTS.help,
            metavar=POINTS.metavar,
            show_default=f"{MAX_POINTS}; {MAX_TRACES} of a module, which is traced",
            rich_help_panel=_MATCH,
        ),
    ] = None,
    specs: Annotated[
        str | None,
        typer.Option(
            "--write",
            help="also write the models to this check file, a .toml, which check and compare "
            "--specs read",
            metavar="FILE",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="let --write replace FILE", rich_help_panel=_OUTPUT),
    ] = False,
) -> None:
    """Find the sizes at which a variant costs what a reference costs.

    The options are those of the variant. The reference is its preset as published, or
    --reference, at the image size, channels, classes or tokens of the variant. Of all
    whole numbers that the variant's rules admit, the nearest below and above are found
    exactly, and all other costs are listed beside.
    """
    if specs is not None:
        destination(Format.TABLE.value, specs)  # checks that the directory exists
        if Path(specs).exists() and not force:
            raise OutputError(f"{specs} exists and is not overwritten; give --force to replace it")
    with progress() as say:
        report = find_match(
            workload=workload,
            vary=vary or (),
            by=by,
            reference=reference,
            keep_head_dim=keep_head_dim,
            show=show,
            max_points=max_points,
            say=say,
            **memory_budget,
            **request,
        )
    if specs is not None:
        write(Path(specs), report.to_toml())
    to.show(report)
