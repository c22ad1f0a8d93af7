"""`vitprof compare`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vitprof import comparing
from vitprof.candidates import specified
from vitprof.checks.file import read_cases
from vitprof.cli.measuring import (
    Device,
    Limits,
    Measure,
    Room,
    protocol_of,
    takes_limits,
    takes_room,
)
from vitprof.cli.options import FormatName, Output, Request, takes_request
from vitprof.cli.output import destination, progress
from vitprof.cli.workload_options import takes_workload
from vitprof.errors import SpecError, listing
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.workload import Workload

_COMPARISON, _CROSSOVERS = "Comparison", "Crossovers"


@takes_request
@takes_workload(without=("device",))
@takes_room
@takes_limits
def compare(
    *,
    request: Request,
    workload: Workload,
    room: Room,
    limits: Limits,
    mixers: Annotated[
        str | None,
        typer.Option(
            help=f"two or more; the first is what the others are compared with: {','.join(MIXERS)}",
            metavar="NAMES",
            rich_help_panel=_COMPARISON,
        ),
    ] = None,
    presets: Annotated[
        str | None,
        typer.Option(
            help="two or more published configurations; vitprof presets lists them",
            metavar="NAMES",
            rich_help_panel=_COMPARISON,
        ),
    ] = None,
    specs: Annotated[
        str | None,
        typer.Option(
            help="compare the models of a check file, whatever they differ in",
            metavar="FILE",
            rich_help_panel=_COMPARISON,
        ),
    ] = None,
    layers: Annotated[
        bool,
        typer.Option("--layers", help="list the layers that differ", rich_help_panel=_COMPARISON),
    ] = False,
    along: Annotated[
        str | None,
        typer.Option(
            help="the option along which to look for where one becomes cheaper",
            metavar="NAME",
            show_default="tokens of a bare layer, image-size of a model",
            rich_help_panel=_CROSSOVERS,
        ),
    ] = None,
    up_to: Annotated[
        str | None,
        typer.Option(
            help="how far to look",
            metavar="N",
            show_default="65536 tokens, 4096 of a width or an image size, else 1024",
            rich_help_panel=_CROSSOVERS,
        ),
    ] = None,
    measure: Measure = False,
    device: Device = None,
    format: FormatName = None,
    output: Output = None,
) -> None:
    """Lay mixers, or models, side by side, and say from where on which is cheaper.

    Parameters, multiply-accumulates of a forward pass, peak memory of a step and
    the largest batch for a card are by formula, and so is where they cross: the
    smallest number of tokens, or of another option, from which on a mixer is
    cheaper than the first.
    """
    target = destination(format, output)
    protocol = protocol_of(limits, measure=measure)
    place = device or ("cpu" if measure else "cuda")
    with progress() as say:
        report = comparing.compare(
            models=_models(request, mixers, presets, specs),
            workload=replace(workload, device=place.partition(":")[0]),
            **room,
            layers=layers,
            along=None if along is None else along.replace("-", "_"),
            up_to=up_to,
            measure=measure,
            device=place,
            protocol=protocol,
            say=say,
        )
    target.show(report)


def _models(
    request: Request, mixers: str | None, presets: str | None, specs: str | None
) -> dict[str, Model]:
    """The models that are compared, by name.

    Raises:
        SpecError: there is no such model, mixer or option, or they are named in two ways.
        CheckFileError: the file cannot be read.
    """
    named = {"--mixers": mixers, "--presets": presets, "--specs": specs}
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        raise SpecError(f"{listing(given, 'and')} each say what to compare; give one of them")
    if mixers is not None or presets is not None:
        return specified(request.candidates(mixers, presets), request.options)
    if specs is not None:
        if request.model is not None or request.mixer is not None or request.options:
            raise SpecError("the models of --specs are given whole; leave out their options")
        models: dict[str, Model] = {}
        for case in read_cases(Path(specs)):
            if case.name in models:
                raise SpecError(
                    f"two models of {specs} are called {case.name!r}; give each a name of its own"
                )
            models[case.name] = case.spec
        return models
    raise SpecError(
        "nothing is given to compare; give --mixers, such as attn,lambda,linear, --presets, such "
        "as vit-s-16,deit-s, or --specs"
    )
