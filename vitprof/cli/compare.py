"""`vitprof compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitprof.api.compare import compare as compare_models
from vitprof.captured.subject import CapturedModel
from vitprof.cli.completion import numbers, one_of
from vitprof.cli.measuring import (
    DeviceName,
    Limits,
    MemoryBudget,
    Timed,
    protocol_of,
    takes_limits,
    takes_memory_budget,
    tell_unsettled,
)
from vitprof.cli.options import (
    Mixers,
    Modules,
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
from vitprof.text import quoted

EXAMPLE = "vitprof compare --model layer --mixers attn,lambda,linear --tokens 64"
_COMPARISON, _CROSSOVERS = "Comparison", "Crossovers"


@takes_request
@takes_workload(without=("device",))
@takes_memory_budget
@takes_limits()
@takes_destination(brief=True, units=True)
def compare(
    *,
    request: Words,
    workload: Workload,
    memory_budget: MemoryBudget,
    limits: Limits,
    to: Destination,
    mixers: Mixers = None,
    presets: Presets = None,
    modules: Modules = None,
    specs: Annotated[
        str | None,
        typer.Option(
            help="compare the models of a check file, which may differ in any option",
            metavar="FILE",
            rich_help_panel=_COMPARISON,
        ),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="run code that the file of --specs names, package.module:factory or "
            "file.py:factory",
            rich_help_panel=_COMPARISON,
        ),
    ] = False,
    training: Annotated[
        bool,
        typer.Option(
            "--training",
            help="compare the MACs of a training step, too",
            rich_help_panel=_COMPARISON,
        ),
    ] = False,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers", help="list the layers whose costs differ", rich_help_panel=_COMPARISON
        ),
    ] = False,
    along: Annotated[
        str | None,
        typer.Option(
            help="option along which crossovers are searched",
            metavar="NAME",
            autocompletion=one_of(numbers),
            show_default="tokens of a bare layer, image-size of a whole model",
            rich_help_panel=_CROSSOVERS,
        ),
    ] = None,
    up_to: Annotated[
        str | None,
        typer.Option(
            help="largest value of that option to search",
            metavar="N",
            show_default="65536 for tokens, 4096 for a width or an image size, else 1024",
            rich_help_panel=_CROSSOVERS,
        ),
    ] = None,
    measure: Timed = False,
    device: DeviceName = None,
) -> None:
    """Compare the costs of mixers or models, and find where one becomes cheaper.

    Parameters, MACs of a forward pass, peak memory of a step and the largest batch
    for a GPU are by formula. So are the crossovers: the numbers of tokens, or values
    of another option, from which on a mixer is cheaper than the first one.
    """
    protocol = protocol_of(limits, measure=measure)
    beside = side_by_side(mixers, presets, modules)
    models: Words = {}
    if specs is not None:
        models = {"models": _models(specs, beside, request, trusted=trust)}
    elif trust:
        raise SpecError("--trust is for a file that is read; give --specs FILE, or leave it out")
    with progress() as say:
        report = compare_models(
            workload=workload,
            training=training,
            layers=layers,
            along=None if along is None else along.replace("-", "_"),
            up_to=up_to,
            measure=measure,
            device=device,
            protocol=protocol,
            say=say,
            **memory_budget,
            **beside,
            **models,
            **request,
        )
    tell_unsettled(report)
    to.show(report)


def _models(
    specs: str, beside: Words, request: Words, *, trusted: bool
) -> dict[str, Model | CapturedModel]:
    """Return the models of a check file, by name.

    Raises:
        SpecError: models are also given by other options, or two have the same name.
        CheckFileError: the file cannot be read, or names code that is not trusted.
    """
    given = [*(f"--{name}" for name in beside), "--specs"]
    if len(given) > 1:
        raise SpecError(f"{listing(given, 'and')} exclude each other; give one of them")
    if request:
        raise SpecError("--specs gives complete models; leave out model and mixer options")
    models: dict[str, Model | CapturedModel] = {}
    for case in read_cases(Path(specs), trusted=trusted, expecting=False):
        if case.name in models:
            raise SpecError(
                f"two models of {specs} are called {quoted(case.name)}; give them different names"
            )
        models[case.name] = case.spec
    return models
