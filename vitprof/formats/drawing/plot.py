"""Draw a sweep as a figure for a paper: PNG, SVG, PDF, or an HTML page with the data."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING

from vitprof.errors import SpecError, listing
from vitprof.exclusive import exclusive
from vitprof.formats.drawing.curves import number_of_curves, option_along
from vitprof.formats.drawing.page import page
from vitprof.text import quoted
from vitprof.values.options import Plain, label_of

if TYPE_CHECKING:
    from vitprof.report.sweep import Sweep

MOST_CURVES = 32  # in a panel
MOST_VARIANTS = 8  # of one mixer; more would repeat the dashes


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


def draw(sweep: Sweep, picture: Picture, measures: Sequence[str] = (), width: float = 0) -> bytes:
    """Return the file of a figure: a panel per measure, a curve per mixer, and a caption.

    The same sweep gives the same bytes.

    Args:
        sweep: the sweep; points without a value are left out.
        picture: format of the file.
        measures: measures of the panels, in order; empty for all of the sweep.
        width: width of the figure in inches; 0 for one column of a paper per panel, at most
            two.

    Raises:
        SpecError: fewer than two places have a value.
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
    """Silence the messages about the font cache that the first import of matplotlib builds."""
    with exclusive():
        logger = logging.getLogger("matplotlib")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
