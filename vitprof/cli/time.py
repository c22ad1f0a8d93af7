"""`vitprof time`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api.time import time as report_time
from vitprof.cli.completion import gpus, one_of
from vitprof.cli.options import Fold, Levels, Words, takes_destination, takes_request
from vitprof.cli.output import Destination, progress
from vitprof.cli.workload_options import takes_workload
from vitprof.request.workload import Workload

EXAMPLE = "vitprof time --preset vit-b-16 --batch 64 --dtype bf16 --autocast --gpu h100"
_GPU = "GPU"


@takes_request
@takes_workload(section="Step", without=("device",))
@takes_destination(brief=True, units=True)
def time(
    *,
    request: Words,
    workload: Workload,
    to: Destination,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="GPU that the step runs on, such as h100; required; vitprof gpus lists them",
            metavar="NAME",
            rich_help_panel=_GPU,
            autocompletion=one_of(gpus),
        ),
    ] = None,
    torch: Annotated[
        str | None,
        typer.Option(
            help="version of PyTorch on that GPU; the newest whose rules are known by default",
            metavar="VERSION",
            rich_help_panel=_GPU,
        ),
    ] = None,
    fold: Fold = None,
    levels: Levels = None,
) -> None:
    """Predict the time of a training step or of inference on a GPU, layer by layer.

    Each kernel takes the larger of its MACs over the rate of products and its bytes over the
    bandwidth; the step takes the larger of the sum of its kernels and the time of the host, which
    goes by the functions that it calls. The last lines say how far predictions were from measured
    steps.
    """
    with progress() as say:
        report = report_time(
            workload=workload, gpu=gpu, torch=torch, fold=fold, levels=levels, say=say, **request
        )
    to.show(report)
