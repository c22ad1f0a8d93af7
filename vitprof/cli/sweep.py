"""`vitprof sweep`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from vitprof.api.sweep import POINTS
from vitprof.api.sweep import sweep as sweep_over
from vitprof.cli.completion import several_of
from vitprof.cli.exits import INTERRUPTED
from vitprof.cli.figures import Figures, takes_figures
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
    split_names,
    takes_destination,
    takes_request,
)
from vitprof.cli.output import Destination, progress
from vitprof.cli.streams import complain
from vitprof.cli.workload_options import takes_workload
from vitprof.errors import OutputError, SpecError
from vitprof.formats import Format
from vitprof.report.quantities import QUANTITIES
from vitprof.report.sweep import Sweep
from vitprof.request.workload import BATCH, Workload
from vitprof.sweeps.axis import is_range
from vitprof.sweeps.points import MAX_POINTS

EXAMPLE = "vitprof sweep --mixers attn,linear --tokens 64:4096:x2"
_SWEEP, _TIME, _OUTPUT = "Sweep", "Time", "Output"


@takes_request
@takes_workload(without=("batch", "device"))
@takes_memory_budget
@takes_limits()
@takes_figures
@takes_destination(brief=True, units=True)
def sweep(
    *,
    request: Words,
    workload: Workload,
    memory_budget: MemoryBudget,
    limits: Limits,
    figures: Figures,
    to: Destination,
    mixers: Mixers = None,
    presets: Presets = None,
    modules: Modules = None,
    batch: Annotated[str, typer.Option(help=BATCH.help, metavar="N", rich_help_panel=_SWEEP)] = "1",
    y: Annotated[
        str,
        typer.Option(
            "--y",
            help=f"measures, separated by commas: {', '.join(QUANTITIES)}",
            metavar="NAMES",
            autocompletion=several_of(QUANTITIES),
            rich_help_panel=_SWEEP,
        ),
    ] = "macs,memory",
    max_points: Annotated[
        str, typer.Option(help=POINTS.help, metavar="N", rich_help_panel=_SWEEP)
    ] = str(MAX_POINTS),
    measure: Timed = False,
    device: DeviceName = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="continue the interrupted sweep in --output, a JSON file",
            rich_help_panel=_TIME,
        ),
    ] = False,
    chart: Annotated[
        bool,
        typer.Option(
            "--chart/--no-chart",
            help="show a text chart of each measure below the table",
            rich_help_panel=_OUTPUT,
        ),
    ] = True,
) -> None:
    """Compute the costs of mixers over ranges of options, with a curve per mixer.

    Any numeric option takes a range instead of a value: 64:16384:x2 by a factor,
    64:1024:+64 by a step, or a list, 64,128,256; the ends are included. Several
    ranges make a grid. Counts, memory, the largest batch and the crossovers of the
    curves are by formula.

    With --measure, the step of each point is timed on this machine. The points
    measured so far are written to --output as the sweep goes on; if it is
    interrupted, the same command with --resume continues it.

    Exit code 130 if the sweep is interrupted, after printing the measured points.
    """
    charts = chart and to.format.for_people
    protocol = protocol_of(limits, measure=measure)
    kept = _kept(to, measure=measure, resume=resume)
    figures.check_effects(to, charts=charts)

    def shown(found: Sweep) -> Sweep:
        return replace(found, charts=charts, scales=figures.drawing.scales)

    def keep(so_far: Sweep) -> None:
        """Write the sweep so far to the file; a pipe gets only the end result."""
        if to.path is not None and (to.path.is_file() or not to.path.exists()):
            to.write(shown(so_far))

    if is_range(batch):
        request = {**request, "batch": batch}
    else:
        workload = replace(workload, batch=BATCH.read("batch", batch))
    with progress() as say:
        result = sweep_over(
            workload=workload,
            measures=split_names(y),
            max_points=max_points,
            measure=measure,
            device=device,
            protocol=protocol,
            before=figures.check,
            kept=kept,
            keep=keep,
            say=say,
            **memory_budget,
            **side_by_side(mixers, presets, modules),
            **request,
        )
    tell_unsettled(result)
    if result.points:
        to.show(shown(result))
    if len(result.points) < result.size:
        _tell_interrupted(result, to)
        raise typer.Exit(INTERRUPTED)
    with progress() as say:
        figures.write(result, say)


def _kept(to: Destination, *, measure: bool, resume: bool) -> Sweep | None:
    """Return the interrupted sweep in the file; None if there is no file yet.

    Raises:
        SpecError: the file holds no sweep, would be overwritten, or is not JSON.
        OutputError: the file cannot be read.
    """
    path = to.path
    if resume and not measure:
        raise SpecError("--resume continues a sweep that measures; add --measure")
    if resume and (path is None or to.format is not Format.JSON):
        raise SpecError("--resume reads a JSON file; give --output FILE.json")
    if path is None or not measure or not path.is_file():
        return None
    if not resume:
        raise SpecError(
            f"{path} exists, and measured times are not overwritten; add --resume to continue "
            "it, or give another file"
        )
    try:
        return Sweep.from_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OutputError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}"
        ) from error
    except ValueError:
        raise SpecError(f"{path} holds no sweep to continue; give another file") from None


def _tell_interrupted(result: Sweep, to: Destination) -> None:
    where = "" if to.path is None or not result.points else f" and saved in {to.path}"
    on = "; add --resume to continue" if where and to.format is Format.JSON else ""
    complain(f"{len(result.points):,} of {result.size:,} points are measured{where}{on}")
