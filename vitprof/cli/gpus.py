"""`vitprof gpus`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api.gpus import gpus as report_gpus
from vitprof.cli.completion import gpus as names
from vitprof.cli.completion import one_of
from vitprof.cli.options import takes_destination
from vitprof.cli.output import Destination

EXAMPLE = "vitprof gpus rtx3090"


@takes_destination()
def gpus(
    *,
    to: Destination,
    gpu: Annotated[
        str | None,
        typer.Argument(
            help="GPU to show, each figure with its source; a pattern, such as 'a100*', lists "
            "those that match",
            metavar="NAME",
            show_default="list all",
            autocompletion=one_of(names),
        ),
    ] = None,
) -> None:
    """List the GPUs that --gpu knows, with memory, multiprocessors, bandwidth and peaks."""
    to.show(report_gpus(gpu))
