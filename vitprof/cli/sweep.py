"""`vitprof sweep`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Annotated, Any

import typer

from vitprof import sweeping
from vitprof.cli import INTERRUPTED
from vitprof.cli.measuring import (
    Device,
    Limits,
    Measure,
    Room,
    bytes_of,
    protocol_of,
    takes_limits,
    takes_room,
)
from vitprof.cli.options import Output, Request, split_names, takes_request
from vitprof.cli.output import Destination, destination, progress, write
from vitprof.cli.workload_options import takes_workload
from vitprof.drawing.plot import draw, find_picture
from vitprof.errors import OutputError, SpecError, unknown
from vitprof.formulas.mixers import MIXERS
from vitprof.options import Whole, plain
from vitprof.profile import BATCH
from vitprof.report.formats import Format, render
from vitprof.report.sweep import Sweep
from vitprof.sweeps.axis import is_range
from vitprof.sweeps.measures import MEASURES
from vitprof.sweeps.points import MAX_POINTS
from vitprof.sweeps.timed import Clock
from vitprof.workload import Workload

_PARQUET = "parquet"
_FORMATS = (*Format, _PARQUET)
_MAX_POINTS = Whole("most points of a grid, on all curves", maximum=10_000_000)
_SWEEP, _TIME, _OUTPUT = "Sweep", "Time", "Output"


@takes_request
@takes_workload(without=("batch", "device"))
@takes_room
@takes_limits
def sweep(
    *,
    request: Request,
    workload: Workload,
    room: Room,
    limits: Limits,
    mixers: Annotated[
        str | None,
        typer.Option(
            help=f"a curve each: {','.join(MIXERS)}",
            metavar="NAMES",
            show_default="that of --mixer",
            rich_help_panel=_SWEEP,
        ),
    ] = None,
    presets: Annotated[
        str | None,
        typer.Option(
            help="a curve each: published configurations; vitprof presets lists them",
            metavar="NAMES",
            rich_help_panel=_SWEEP,
        ),
    ] = None,
    batch: Annotated[str, typer.Option(help=BATCH.help, metavar="N", rich_help_panel=_SWEEP)] = "1",
    y: Annotated[
        str,
        typer.Option(
            "--y",
            help=f"what is asked of each point: {','.join(MEASURES)}",
            metavar="NAMES",
            rich_help_panel=_SWEEP,
        ),
    ] = "macs,memory",
    max_points: Annotated[
        str, typer.Option(help=_MAX_POINTS.help, metavar="N", rich_help_panel=_SWEEP)
    ] = str(MAX_POINTS),
    measure: Measure = False,
    device: Device = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="go on with the interrupted sweep that --output holds, as JSON",
            rich_help_panel=_TIME,
        ),
    ] = False,
    chart: Annotated[
        bool,
        typer.Option(
            "--chart/--no-chart",
            help="a chart of each measure below the table",
            rich_help_panel=_OUTPUT,
        ),
    ] = True,
    plot: Annotated[
        str | None,
        typer.Option(
            help="draw a figure too: a file that ends in .svg, .pdf, .png or .html",
            metavar="FILE",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=f"how to write it down: {', '.join(_FORMATS)}",
            metavar="NAME",
            show_default="by the suffix of --output, else table",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Count, predict or measure over ranges of options, a curve a mixer.

    Any option that is a number takes a range in place of a value: 64:16384:x2 by a
    factor, 64:1024:+64 by a step, or 64,128,256; ends are inclusive. Several
    ranges make a grid. Counts, memory and the largest batch are by formula, and so
    is the value from which on one mixer is cheaper than another.

    With --measure, the step of each point is timed on this machine. What has been
    measured is written to --output after each point, and kept where the sweep is
    interrupted; the same command with --resume goes on from there.

    Exits with 130 where it is interrupted, and then shows what was measured until then.
    """
    target = _target(format, output, chart=chart)
    protocol, budget = protocol_of(limits, measure=measure), bytes_of(room)
    clock = Clock(device=device or "cpu", protocol=protocol) if measure else None
    measures = sweeping.check_measures(split_names(y), budget, timed=measure)
    given = {**request.options, "batch": batch}
    ranges = {name: value for name, value in given.items() if is_range(value)}
    options = {name: value for name, value in given.items() if name not in ranges}
    images: Any = options.pop("batch", "1")
    options.pop("preset", None)
    models, axes = sweeping.read_curves(
        request.candidates(mixers, presets),
        options,
        ranges,
        most=_MAX_POINTS.read("max_points", max_points),
    )
    place = device or ("cpu" if measure else "cuda")
    workload = replace(workload, batch=images, device=place.partition(":")[0])
    picture = None
    if plot is not None:
        values = {axis.name: tuple(map(plain, axis.values)) for axis in axes}
        picture = find_picture(plot, values, len(models))
        destination(Format.TABLE, plot)  # which sees to it that there is such a directory
    kept = _kept(target, measure=measure, resume=resume)
    with progress() as say:
        result = sweeping.evaluate(
            models,
            axes,
            measures,
            workload,
            budget=budget,
            clock=clock,
            kept=kept,
            keep=target.keep,
            say=say,
        )
    if result.points:
        target.show(result)
    if len(result.points) < result.size:
        _tell_interrupted(result, target)
        raise typer.Exit(INTERRUPTED)
    if plot is not None and picture is not None:
        write(Path(plot), draw(result, picture))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where the sweep goes.

    Attributes:
        text: where it goes as text, and the file.
        parquet: whether it is written as Parquet instead.
        chart: whether charts stand below a table.
    """

    text: Destination
    parquet: bool
    chart: bool

    @property
    def path(self) -> Path | None:
        return self.text.path

    def show(self, result: Sweep) -> None:
        """Print it, or write it to the file."""
        if self.parquet and self.path is not None:
            write(self.path, self._data(result))
        else:
            self.text.show(result, *self._charts(result))

    def keep(self, result: Sweep) -> None:
        """Write to the file what there is so far; a pipe gets it once, in the end."""
        if self.path is not None and (self.path.is_file() or not self.path.exists()):
            write(self.path, self._data(result))

    def _data(self, result: Sweep) -> str | bytes:
        if self.parquet:
            return result.to_parquet()
        return render(result, self.text.format, *self._charts(result))

    def _charts(self, result: Sweep) -> list[Any]:
        if not self.chart or not self.text.format.for_people:
            return []
        from vitprof.report.sweep_to_table import Charts

        return [Charts(result)]


def _target(format: str | None, output: str | None, *, chart: bool) -> _Target:
    """Where `--format` and `--output` send a sweep.

    Raises:
        SpecError: there is no such format, or it cannot be written here.
        OutputError: there is no such directory.
    """
    if format is not None and format not in _FORMATS:
        raise unknown("format of a sweep", format, _FORMATS)
    suffix = "" if output is None else PurePath(output).suffix.lower()
    if format != _PARQUET and (format is not None or suffix != f".{_PARQUET}"):
        return _Target(text=destination(format, output), parquet=False, chart=chart)
    if output is None:
        raise SpecError("parquet is no text for a terminal; give --output FILE.parquet with it")
    if find_spec("pyarrow") is None:
        raise SpecError(
            "parquet needs pyarrow, which is not installed; pip install vitprof[parquet], or write "
            ".csv"
        )
    return _Target(text=destination(Format.CSV, output), parquet=True, chart=False)


def _kept(target: _Target, *, measure: bool, resume: bool) -> Sweep | None:
    """The sweep that is to go on; None where there is none yet.

    Raises:
        SpecError: there is nothing to go on with, or a file with times that nobody may want
            to lose.
    """
    path = target.path
    if resume and not measure:
        raise SpecError("only a sweep that measures takes long enough to be resumed; add --measure")
    if resume and (path is None or target.parquet or target.text.format is not Format.JSON):
        raise SpecError("only JSON holds all that --resume needs; give --output FILE.json")
    if path is None or not measure or not path.is_file():
        return None
    if not resume:
        raise SpecError(
            f"{path} is there, and measured times are not overwritten; go on with it by "
            "--resume, or give another file"
        )
    try:
        return Sweep.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}"
        ) from error
    except ValueError:
        raise SpecError(f"{path} holds no sweep to go on with; give another file") from None


def _tell_interrupted(result: Sweep, target: _Target) -> None:
    where = "" if target.path is None or not result.points else f"; {target.path} has them"
    on = ", and --resume goes on" if where and target.text.format is Format.JSON else ""
    sys.stderr.write(
        f"vitprof: {len(result.points):,} of {result.size:,} points are measured{where}{on}\n"
    )
