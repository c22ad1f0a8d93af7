"""Draw a sweep as a figure for a paper: PNG, SVG, PDF, or an HTML page with the data."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING

from vitprof.errors import SpecError, listing, unknown
from vitprof.exclusive import exclusive
from vitprof.formats.drawing.curves import number_of, number_of_curves, option_along, option_of
from vitprof.formats.drawing.drawing import Drawing, read_drawing
from vitprof.formats.drawing.page import page
from vitprof.formats.drawing.scale import show_value
from vitprof.report.curves import AxisScale, Scales
from vitprof.text import quoted
from vitprof.values.options import Plain, label_of

if TYPE_CHECKING:
    from vitprof.report.sweep import Sweep

MOST_CURVES = 32  # in a panel
MOST_VARIANTS = 8  # of one mixer; more would repeat the dashes
_AS_USUAL = Drawing()


class Picture(StrEnum):
    """File format of a figure."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"
    HTML = "html"


def find_picture(file: str, axes: Mapping[str, Sequence[Plain]], curves: int) -> Picture:
    """Return the format of the file's suffix, and check that the sweep can be drawn.

    Args:
        file: name of the file.
        axes: values of the swept options, by name.
        curves: number of mixers or presets.

    Raises:
        SpecError: the suffix is unknown, no option has two numeric values, or there are too
            many curves to tell apart.
    """
    suffix = PurePath(file).suffix.lower().removeprefix(".")
    if suffix not in tuple(Picture):
        known = listing(f".{picture}" for picture in Picture)
        raise SpecError(
            f"the suffix of the file name {quoted(file)} is not that of a figure; end it in {known}"
        )
    option, many = option_along(axes), number_of_curves(axes, curves)
    if many > MOST_CURVES or many > MOST_VARIANTS * curves:
        raise SpecError(
            f"{many:,} curves along {label_of(option)} cannot be told apart; a figure has at most "
            f"{MOST_CURVES}, and {MOST_VARIANTS} of one mixer; sweep fewer values or mixers, "
            "or leave out --plot"
        )
    return Picture(suffix)


def check_picture(
    file: str, sweep: Sweep, drawing: Drawing, measures: Sequence[str] = ()
) -> Picture:
    """Return the format of the file's suffix, and check all that is known of a figure before work.

    Args:
        file: name of the file.
        sweep: the sweep, without its points.
        drawing: settings of the figure.
        measures: measures of the panels; empty for all of the sweep.

    Raises:
        SpecError: the suffix is unknown, no option has two numeric values, there are too many
            curves to tell apart or for the size.
    """
    picture = find_picture(file, sweep.axes, len(sweep.curves))
    if drawing.size.width:
        with _quiet():
            from vitprof.formats.drawing.figure import check_figure

            check_figure(sweep, tuple(measures) or sweep.measures, drawing)
    return picture


def check_scale(axes: Mapping[str, Sequence[Plain]], scales: Scales) -> None:
    """Raise SpecError if the x axis is logarithmic and the option along it has a value of 0."""
    option = option_of(axes)
    if scales.x is AxisScale.LOG and option is not None:
        least = min(number_of(value) for value in axes[option])
        if least <= 0:
            raise SpecError(
                f"{label_of(option)} {show_value(least)} has no place on a logarithmic x axis; "
                "begin above 0, or leave out the scale"
            )


def draw(
    sweep: Sweep,
    picture: Picture,
    measures: Sequence[str] = (),
    drawing: Drawing = _AS_USUAL,
) -> bytes:
    """Return the file of a figure: a panel per measure, a curve per mixer, and a caption.

    The same sweep gives the same bytes.

    Args:
        sweep: the sweep; points without a value are left out.
        picture: format of the file.
        measures: measures of the panels, in order; empty for all of the sweep.
        drawing: settings of the figure.

    Raises:
        SpecError: fewer than two places have a value, or the size has no room for the panels.
    """
    shown = tuple(measures) or sweep.measures
    with _quiet():
        from vitprof.formats.drawing.figure import figure_file

        if picture is not Picture.HTML:
            return figure_file(sweep, shown, drawing, picture)
        svg = figure_file(sweep, shown, drawing, Picture.SVG)
    return page(sweep, shown, svg.decode()).encode()


def figure(
    sweep: Sweep,
    format: str,
    *,
    measures: Sequence[str] = (),
    size: str | None = None,
    caption: bool = True,
    x_scale: str | None = None,
    y_scale: str | None = None,
) -> bytes:
    """Return the file of a figure with settings given as words; see `Sweep.to_figure`."""
    if format not in tuple(Picture):
        raise unknown("format of a figure", format, tuple(Picture))
    for measure in measures:
        if measure not in sweep.measures:
            raise unknown("measure", measure, sweep.measures)
    drawing = read_drawing(size, caption=caption, x_scale=x_scale, y_scale=y_scale)
    check_scale(sweep.axes, drawing.scales)
    picture = check_picture(f"figure.{format}", sweep, drawing, measures)
    return draw(sweep, picture, measures, drawing)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the messages about the font cache that the first import of matplotlib builds."""
    with exclusive():
        logger = logging.getLogger("matplotlib")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
