"""Draw a sweep as a text chart for a terminal, with plotext."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import plotext

from vitprof.exclusive import exclusive
from vitprof.formats.drawing.curves import (
    Curve,
    curves_of,
    number_of_curves,
    option_of,
    unit_of,
)
from vitprof.formats.drawing.scale import Scale, scale_of_measure, scale_of_option
from vitprof.report.curves import Scales

if TYPE_CHECKING:
    from vitprof.report.curves import Curves

LEAST_WIDTH = 40
_LINES = 18
_LINE = 1.2 / _LINES
_COLUMNS_A_TICK = 9
_LINES_A_TICK = 3
_MOST_MARKS = 16  # on a curve
_MARKS = "ox+*#@%&abcdefghijklmnpqrstuvwyz"
_UNSETTLED = "!"
_BY_VALUES = Scales()
# The named colours of the terminal, whose theme provides the contrast.
_HUES = ("blue", "orange", "green", "magenta", "cyan", "red")


def chart(
    sweep: Curves, measure: str, width: int, colour: bool, scales: Scales = _BY_VALUES
) -> str:
    """Return the text chart of one measure, with a curve per mixer.

    A curve is a line of dots with a different mark at its points; of a time, an upright line
    reaches from quartile to quartile, and `!` marks what did not settle. The text is empty if no
    option has two numeric values, the measure has values at fewer than two of them, or there
    are more curves than marks.

    Args:
        sweep: curves and points.
        measure: measure to draw, such as `macs` or `memory`.
        width: width in characters; 40 if less.
        colour: colour the curves by escape sequences.
        scales: scales of the axes; by default, chosen by the values.
    """
    option = option_of(sweep.axes)
    few = number_of_curves(sweep.axes, len(sweep.curves)) <= len(_MARKS)
    curves = curves_of(sweep, measure, scales.y) if few and option is not None else []
    places = sorted({at for curve in curves for at, _ in curve.known})
    if option is None or len(places) < 2:
        return ""
    width = max(width, LEAST_WIDTH)
    known = [value for curve in curves for value in curve.extent]
    across = scale_of_option(places, width // _COLUMNS_A_TICK, scales.x)
    up = scale_of_measure(known, unit_of(measure), _LINES // _LINES_A_TICK, scales.y)
    text = "\n".join(
        [
            *wrap(sweep.label_of_measure(measure) + _note(up) + _zeros(sweep, measure, up), width),
            *_panel(curves, across, up, width),
            (sweep.label_of_option(option) + _note(across)).center(width).rstrip(),
            *_legend(curves, width),
            *(_unsettled(sweep, width) if any(curve.unsettled for curve in curves) else []),
        ]
    )
    lines = (text if colour else plotext.uncolorize(text)).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _panel(curves: Sequence[Curve], across: Scale, up: Scale, width: int) -> list[str]:
    with _figure() as figure:
        figure.plot_size(width, _LINES)
        figure.theme("simple")  # a frame in the default colours
        for axis, scale in (("x", across), ("y", up)):
            ruler = figure.ruler(axis)
            ruler.lim(0, 1)
            ruler.ticks([scale.place(tick) for tick in scale.ticks], [*scale.ticks.values()])
        for curve in curves:
            for run in curve.runs:
                x, y = _places(run, across, up)
                figure.draw(
                    figure.signal(x, y, marker=plotext.marker("braille", _hue(curve))).lines()
                )
            for at, ends in curve.quartiles.items():
                x, y = _places([(at, end) for end in ends], across, up)
                figure.draw(
                    figure.signal(x, y, marker=plotext.marker("braille", _hue(curve))).lines()
                )
        for number, curve in enumerate(curves):  # drawn over all lines
            x, y = _places(curve.known[:: -(-len(curve.known) // _MOST_MARKS)], across, up)
            figure.draw(figure.signal(x, y, marker=plotext.marker(_MARKS[number], _hue(curve))))
        for curve in curves:
            above = [one for one in curve.known if one[0] in curve.unsettled]
            x, y = _places(above, across, up)
            for place, (at, _) in enumerate(above):  # on the upper quartile, and above the mark
                upper = up.place(curve.quartiles[at][1])
                y[place] = min(1.0, max(upper, y[place] + _LINE))
            if x:
                figure.draw(figure.signal(x, y, marker=plotext.marker(_UNSETTLED, _hue(curve))))
        return [line.rstrip() for line in str(figure.build()).splitlines()]


@contextmanager
def _figure() -> Iterator[Any]:
    """Provide the global figure of plotext, empty and not limited to the size of the terminal."""
    with exclusive():
        plotext.figure.clear()
        plotext.terminal.limit(False, False)
        try:
            yield plotext.figure
        finally:
            plotext.terminal.limit()
            plotext.figure.clear()


def _places(
    points: Sequence[tuple[float, float]], across: Scale, up: Scale
) -> tuple[list[float], list[float]]:
    return [across.place(at) for at, _ in points], [up.place(value) for _, value in points]


def _legend(curves: Sequence[Curve], width: int) -> Iterator[str]:
    """Yield the lines of the legend."""
    line, columns = "", 0
    for number, curve in enumerate(curves):
        wide = len(curve.name) + 2
        if line and columns + 3 + wide > width:
            yield line
            line, columns = "", 0
        gap = "   " if line else ""
        line += f"{gap}{plotext.colorize(_MARKS[number], _hue(curve))} {curve.name}"
        columns += len(gap) + wide
    yield line


def _unsettled(sweep: Curves, width: int) -> list[str]:
    words = f"{_UNSETTLED} unsettled: interquartile range over median above {sweep.bound:.0%}"
    return wrap(words, width)


def _hue(curve: Curve) -> str:
    return _HUES[curve.of % len(_HUES)]


def _zeros(sweep: Curves, measure: str, up: Scale) -> str:
    """Return a note on what a logarithmic scale cannot show."""
    hidden = up.logarithmic and any(point.values.get(measure) == 0 for point in sweep.points)
    return ", without values of 0" if hidden else ""


def _note(scale: Scale) -> str:
    return ", log scale" if scale.logarithmic else ""
