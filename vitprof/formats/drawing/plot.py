"""The curves of a sweep as a figure for a paper: PNG, SVG, PDF, or a page with its data."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING

from vitprof.errors import SpecError, listing
from vitprof.formats.drawing.curves import number_of_curves, option_along
from vitprof.formats.drawing.page import page
from vitprof.values.options import Plain, label_of

if TYPE_CHECKING:
    from vitprof.report.sweep import Sweep

MOST_CURVES = 32  # in a panel
MOST_VARIANTS = 8  # of one mixer: beyond these, dashes would come a second time


class Picture(StrEnum):
    """A way to write a figure down."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"
    HTML = "html"


def find_picture(file: str, axes: Mapping[str, Sequence[Plain]], curves: int) -> Picture:
    """The format that the file's suffix asks for, for a sweep that can be drawn.

    Args:
        file: the file's name.
        axes: the swept options and their values.
        curves: how many mixers or presets there are.

    Raises:
        SpecError: the suffix stands for no format, no option has two values to draw along,
            or there would be too many curves to tell apart.
    """
    suffix = PurePath(file).suffix.lower().removeprefix(".")
    if suffix not in tuple(Picture):
        known = listing(f".{picture}" for picture in Picture)
        raise SpecError(f"the file name {file!r} does not say which picture; end it in {known}")
    option, many = option_along(axes), number_of_curves(axes, curves)
    if many > MOST_CURVES or many > MOST_VARIANTS * curves:
        raise SpecError(
            f"{many:,} curves along {label_of(option)} cannot be told apart; a figure has "
            f"{MOST_CURVES} at most, {MOST_VARIANTS} of them of one mixer, so sweep fewer "
            "values or mixers, or leave out --plot"
        )
    return Picture(suffix)


def draw(sweep: Sweep, picture: Picture, measures: Sequence[str] = (), width: float = 0) -> bytes:
    """The file of a figure: a panel a measure, a curve a mixer, the configuration below.

    The same sweep gives the same bytes.

    Args:
        sweep: the points; those without a value are left out.
        picture: the format.
        measures: what the panels show, in order; all of the sweep's if empty.
        width: of the figure in inches; 0 takes a column of a paper for one panel and two for
            more, side by side.

    Raises:
        SpecError: there is nothing to draw.
    """
    shown = tuple(measures) or sweep.measures
    with _quiet():
        from vitprof.formats.drawing.figure import figure_file

        if picture is not Picture.HTML:
            return figure_file(sweep, shown, width, picture)
        svg = figure_file(sweep, shown, width, Picture.SVG)
    return page(sweep, shown, svg.decode()).encode()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without matplotlib's remarks on the cache of its fonts, which the first import makes."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
