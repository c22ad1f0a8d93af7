"""`vitprof models`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api import catalogue
from vitprof.cli.completion import one_of
from vitprof.cli.options import takes_destination
from vitprof.cli.output import Destination, progress
from vitprof.formulas.models import MODELS

EXAMPLE = "vitprof models classifier"


@takes_destination()
def models(
    *,
    to: Destination,
    model: Annotated[
        str | None,
        typer.Argument(
            help="model to show, with its options; a pattern, such as 'timm:deit*', "
            "'torchvision:*' or 'transformers:ViT*', lists models of another library, for --module",
            metavar="NAME",
            show_default="list all",
            autocompletion=one_of(MODELS),
        ),
    ] = None,
) -> None:
    """List the models with their formulas and sources, or show one in detail."""
    with progress() as say:
        report = catalogue.models(model, say=say)
    to.show(report)
