"""Options of figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from vitprof.cli.completion import one_of
from vitprof.cli.gathering import gathering, parameter
from vitprof.cli.output import Destination, check_distinct, destination, write
from vitprof.errors import SpecError
from vitprof.formats import Format
from vitprof.formats.drawing.drawing import Drawing, read_drawing
from vitprof.formats.drawing.plot import Picture, check_picture, check_scale, draw
from vitprof.progress import Say
from vitprof.report.curves import AxisScale
from vitprof.report.sweep import Sweep

_PANEL = "Figures"


@dataclass(frozen=True, slots=True)
class Figures:
    """Files of figures and how they are drawn.

    Attributes:
        files: names of the files.
        drawing: settings of all of them.
        pictures: formats of the files that were checked.
    """

    files: tuple[str, ...]
    drawing: Drawing
    pictures: dict[Path, Picture] = field(default_factory=dict)

    def check_effects(self, to: Destination, *, charts: bool) -> None:
        """Check that each file is written once, and that each setting has an effect.

        Args:
            to: destination of the data.
            charts: True if text charts are shown.

        Raises:
            SpecError: two files are one, or a setting has no effect.
        """
        settings = {
            "--figure-size": bool(self.drawing.size.width),
            "--no-caption": not self.drawing.caption,
        }
        for option, given in settings.items():
            if given and not self.files:
                raise SpecError(f"{option} has no effect without a figure; add --plot FILE")
        scales = {"--x-scale": self.drawing.scales.x, "--y-scale": self.drawing.scales.y}
        for option, scale in scales.items():
            if scale is not None and not (self.files or charts):
                raise SpecError(
                    f"{option} has no effect without a chart or a figure; add --plot FILE, or "
                    "leave it out"
                )
        taken = [] if to.path is None else [to.path]
        check_distinct([*self.files, *taken], "--plot, and --output,")

    def check(self, wanted: Sweep) -> None:
        """Check, before any work is done, that the figures of a sweep can be drawn and written.

        Raises:
            SpecError: a figure cannot be drawn.
            OutputError: the directory of a file does not exist, or the file is a directory.
        """
        check_scale(wanted.axes, self.drawing.scales)
        for file in self.files:
            self.pictures[Path(file)] = check_picture(file, wanted, self.drawing)
            destination(Format.TABLE, file)  # checks that the directory exists

    def write(self, sweep: Sweep, say: Say) -> None:
        """Draw all figures, and write each file when all are drawn.

        Raises:
            SpecError: too few points have a value.
            OutputError: a file cannot be written.
        """
        drawn = {}
        for path, picture in self.pictures.items():
            say(f"drawing {path.name}")
            drawn[path] = draw(sweep, picture, drawing=self.drawing)
        for path, content in drawn.items():
            write(path, content)


def takes_figures(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--plot` and the settings of figures, gathered as `figures`."""
    scales = "linear or log"
    options = {
        "plot": parameter(
            "plot",
            list[str],
            typer.Option(
                help="also draw a figure to this file, which ends in .svg, .pdf, .png or .html; "
                "give it again for another",
                metavar="FILE",
                rich_help_panel=_PANEL,
            ),
        ),
        "figure_size": parameter(
            "figure_size",
            str,
            typer.Option(
                help="width and height in inches, without the caption, which comes below: 3.3x2.5, "
                "also 84x60mm or 8.4x6cm, or the width alone",
                metavar="SIZE",
                show_default="3.5 inches a panel, at most 7",
                rich_help_panel=_PANEL,
            ),
        ),
        "no_caption": parameter(
            "no_caption",
            bool,
            typer.Option(
                "--no-caption",
                help="leave out the caption, the conditions and crossovers; the metadata of the "
                "file keep it",
                rich_help_panel=_PANEL,
            ),
        ),
        "x_scale": _scale(f"scale of the x axis, of text charts too: {scales}", "x"),
        "y_scale": _scale(f"scale of the y axes, of text charts too: {scales}", "y"),
    }
    return gathering(command, "figures", options, _figures)


def _scale(told: str, axis: str) -> Any:
    return parameter(
        f"{axis}_scale",
        str,
        typer.Option(
            help=told,
            metavar="NAME",
            show_default="by the values",
            autocompletion=one_of(tuple(AxisScale)),
            rich_help_panel=_PANEL,
        ),
    )


def _figures(given: Mapping[str, Any]) -> Figures:
    drawing = read_drawing(
        given.get("figure_size"),
        caption=not given.get("no_caption", False),
        x_scale=given.get("x_scale"),
        y_scale=given.get("y_scale"),
    )
    return Figures(tuple(given.get("plot", ())), drawing)
