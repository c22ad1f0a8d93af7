"""`vitprof compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitprof.api.compare import compare as lay_side_by_side
from vitprof.cli.measuring import (
    DeviceName,
    Limits,
    Room,
    Timed,
    protocol_of,
    takes_limits,
    takes_room,
)
from vitprof.cli.options import (
    Mixers,
    Presets,
    Words,
    side_by_side,
    takes_destination,
    takes_request,
)
from vitprof.cli.output import Destination, progress
from vitprof.cli.workload_options import takes_workload
from vitprof.errors import SpecError, listing
from vitprof.expectations.file import read_cases
from vitprof.formulas.model import Model
from vitprof.request.workload import Workload

EXAMPLE = "vitprof compare --model layer --mixers attn,lambda,linear --tokens 64"
_COMPARISON, _CROSSOVERS = "Comparison", "Crossovers"


@takes_request
@takes_workload(without=("device",))
@takes_room
@takes_limits
@takes_destination()
def compare(
    *,
    request: Words,
    workload: Workload,
    room: Room,
    limits: Limits,
    to: Destination,
    mixers: Mixers = None,
    presets: Presets = None,
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
    measure: Timed = False,
    device: DeviceName = None,
) -> None:
    """Lay mixers, or models, side by side, and say from where on which is cheaper.

    Parameters, multiply-accumulates of a forward pass, peak memory of a step and
    the largest batch for a GPU are by formula, and so is where they cross: the
    smallest number of tokens, or of another option, from which on a mixer is
    cheaper than the first.
    """
    protocol = protocol_of(limits, measure=measure)
    models: Words = {} if specs is None else {"models": _models(specs, mixers, presets, request)}
    with progress() as say:
        report = lay_side_by_side(
            workload=workload,
            layers=layers,
            along=None if along is None else along.replace("-", "_"),
            up_to=up_to,
            measure=measure,
            device=device,
            protocol=protocol,
            say=say,
            **room,
            **side_by_side(mixers, presets),
            **models,
            **request,
        )
    to.show(report)


def _models(
    specs: str, mixers: str | None, presets: str | None, request: Words
) -> dict[str, Model]:
    """The models of a check file, by name.

    Raises:
        SpecError: models are named otherwise, too, or two have one name.
        CheckFileError: the file cannot be read.
    """
    named = {"--mixers": mixers, "--presets": presets, "--specs": specs}
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        raise SpecError(f"{listing(given, 'and')} each say what to compare; give one of them")
    if request:
        raise SpecError("the models of --specs are given whole; leave out their options")
    models: dict[str, Model] = {}
    for case in read_cases(Path(specs)):
        if case.name in models:
            raise SpecError(
                f"two models of {specs} are called {case.name!r}; give each a name of its own"
            )
        models[case.name] = case.spec
    return models
