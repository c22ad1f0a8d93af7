"""`vitprof models`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api import catalogue
from vitprof.cli.options import takes_destination
from vitprof.cli.output import Destination

EXAMPLE = "vitprof models --format markdown"


@takes_destination()
def models(
    *,
    to: Destination,
    pattern: Annotated[
        str | None,
        typer.Argument(
            help="models of another library to list, such as 'timm:deit*', 'torchvision:*' or "
            "'transformers:ViT*'",
            metavar="PATTERN",
            show_default="those of vitprof",
        ),
    ] = None,
) -> None:
    """List the models, each with its source and its formulas for parameters and MACs.

    With a pattern, list the models of another library, for --module.
    """
    to.show(catalogue.models(pattern))
