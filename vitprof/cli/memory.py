"""`vitprof memory`."""

from __future__ import annotations

from typing import Annotated

import typer

from vitprof.api.memory import memory as report_memory
from vitprof.cli.measuring import MemoryBudget, takes_memory_budget
from vitprof.cli.options import Fold, Levels, Words, takes_destination, takes_request
from vitprof.cli.output import Destination, progress
from vitprof.cli.workload_options import takes_workload

EXAMPLE = "vitprof memory --preset vit-b-16 --batch 32 --dtype bf16 --autocast"


@takes_request
@takes_workload(section="Step", dtypes=True)
@takes_memory_budget
@takes_destination(brief=True)
def memory(
    *,
    request: Words,
    workload: Words,
    memory_budget: MemoryBudget,
    to: Destination,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace/--no-trace",
            help="compare the formula with a real step on fake tensors; --no-trace does not "
            "import PyTorch",
        ),
    ] = True,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="run the step on the GPU of this machine, too, and measure it"
        ),
    ] = False,
    fold: Fold = None,
    levels: Levels = None,
) -> None:
    """Predict the memory of a training step or of inference, layer by layer."""
    with progress() as say:
        report = report_memory(
            **workload,
            trace=trace,
            measure=measure,
            **memory_budget,
            fold=fold,
            levels=levels,
            say=say,
            **request,
        )
    to.show(report)
