"""Draw the figure of a sweep with matplotlib.

The palette is that of Okabe and Ito ("Color Universal Design", 2008), which is safe for
colour-blind readers, without its yellow, which has too little contrast on white. Mixers also
differ in marks and dashes, so the figure can be read in grey.

The same sweep gives the same bytes on every machine: text is set in the DejaVu Sans that
matplotlib ships, as outlines in SVG, and neither a date nor the user's settings of matplotlib
are used. All lengths are in points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from math import ceil, nan
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from vitprof.errors import SpecError, listing
from vitprof.exclusive import exclusive
from vitprof.formats.drawing.caption import caption_of
from vitprof.formats.drawing.curves import (
    Curve,
    crossed,
    curves_of,
    option_along,
    unit_of,
)
from vitprof.formats.drawing.labels import Box, Segment, place_label, spread
from vitprof.formats.drawing.scale import Scale, scale_of_measure, scale_of_option, show_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vitprof.report.sweep import Sweep

COLUMN = 3.5 * 72  # width of a paper's column, and of one panel
_HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKS = "os^DvPX*"
_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.6), (1.2, 1.2), (5, 1.5, 1.2, 1.5))
_INK, _FAINT = "#262626", "#DDDDDD"
_TEXT, _LABEL = 7.0, 8.0  # font sizes
_LEADING = 1.3  # line height over font size
_DROP = 0.36  # from the middle of a line to its baseline, over font size
_FONT = ["DejaVu Sans"]
_TICK, _TICK_PAD = 3.0, 2.5
_STYLE: dict[Any, Any] = {  # matplotlib types the keys as literals
    "font.family": _FONT,
    "font.size": _TEXT,
    "text.color": _INK,
    "text.parse_math": False,  # dollar signs are not math
    "svg.fonttype": "path",
    "svg.hashsalt": "vitprof",
    "pdf.fonttype": 42,  # TrueType, as publishers require
    "axes.edgecolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}
for _axis in ("xtick", "ytick"):
    _STYLE |= {f"{_axis}.color": _INK, f"{_axis}.labelsize": _TEXT}
    _STYLE |= {f"{_axis}.major.size": _TICK, f"{_axis}.major.pad": _TICK_PAD}
    _STYLE |= {f"{_axis}.minor.size": 1.6, f"{_axis}.minor.width": 0.4}
    _STYLE |= {f"{_axis}.major.width": 0.6}
_DPI = 300
_EDGE = 5.0  # around the figure
_PAD = 3.0  # between a text and its element
_GAP = 14.0  # between panels
_PANEL_HEIGHT = 150.0
_TO_NAME = 9.0  # between the axes and the names of the curves
_MOST_NAMED = 0.34  # share of a panel's width for names; longer names go to a legend
_MOST_MARKS = 10  # on a curve
_MARK = 4.4  # width of a mark
_RING = 3.6  # the radius of the ring around a crossover
_CROWD = 60.0  # distance of rings below which a line connects each to its number
_POINTER = 6.0  # smallest length of that line
_SAMPLE, _LEGEND_GAP = 28.0, 12.0  # width of a line in the legend, and gap between entries


def figure_file(sweep: Sweep, measures: Sequence[str], width: float, format: str) -> bytes:
    """Return the figure as a PNG, SVG or PDF, `width` inches wide; 0 for the default width.

    Raises:
        SpecError: fewer than two places have a value.
    """
    unstamped: dict[str, dict[str, str | None]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    }
    with style():
        figure = compose(sweep, measures, width)
        file = BytesIO()
        metadata = {**unstamped[format], "Title": str(figure.get_label())}
        figure.savefig(file, format=format, dpi=_DPI, metadata=metadata)
    return file.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """Use the defaults of matplotlib with the settings of this module, and restore them."""
    with exclusive(), matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """Panel of one measure: its curves and the scales of its axes."""

    measure: str
    label: str
    curves: list[Curve]
    across: Scale
    up: Scale

    @property
    def room_left(self) -> float:
        """Width of the labels of the y axis."""
        ticks = max(_width_of(name) for name in self.up.ticks.values())
        return _LABEL * _LEADING + _PAD + ticks + _TICK + _TICK_PAD

    @property
    def room_right(self) -> float:
        """Width of the names of the curves."""
        return _TO_NAME + max(_width_of(curve.name) for curve in self.curves)

    @property
    def names_height(self) -> float:
        """Height of the names of the curves, one above the other."""
        return len(self.curves) * _TEXT * _LEADING

    def point(self, box: Box, at: float, value: float) -> tuple[float, float]:
        """Return the position of a point if the axes fill the box."""
        return (
            box.left + self.across.place(at) * (box.right - box.left),
            box.bottom + self.up.place(value) * (box.top - box.bottom),
        )


def compose(sweep: Sweep, measures: Sequence[str], width: float = 0) -> Figure:
    """Return the figure, `width` inches wide; call it and save the figure within `style`.

    Raises:
        SpecError: fewer than two places have a value.
    """
    panels = _panels(sweep, measures)
    columns = min(len(panels), 1 if 0 < width * 72 < 1.5 * COLUMN else 2)
    wide = width * 72 or COLUMN * columns
    inside = wide - 2 * _EDGE
    each = (inside - _GAP * (columns - 1)) / columns
    left, right = (
        max(getattr(panel, room) for panel in panels) for room in ("room_left", "room_right")
    )
    named = right <= _MOST_NAMED * each and all(
        panel.names_height <= _PANEL_HEIGHT for panel in panels
    )
    right = right if named else _PAD
    keys = [] if named else _legend_lines(panels, inside)
    marked = any(crossed(curve) for panel in panels for curve in panel.curves)
    caption = _wrapped(caption_of(sweep, measures, marked), inside)
    # From the bottom up: the caption, the legend, and rows of panels.
    line = _TEXT * _LEADING
    legend_bottom = _EDGE + len(caption) * line + 2 * _PAD
    bottom = legend_bottom + (len(keys) * line + 2 * _PAD if keys else 0)
    below = _TICK + _TICK_PAD + line + _PAD + _LABEL
    row = below + _PANEL_HEIGHT + _GAP
    rows = ceil(len(panels) / columns)
    figure = Figure(figsize=(wide / 72, (bottom + rows * row - _GAP + _TEXT + _EDGE) / 72), dpi=72)
    over = sweep.label_of_option(option_along(sweep.axes))
    figure.set_label(f"{listing((panel.label for panel in panels), 'and')} over {over}")
    for number, panel in enumerate(panels):
        x = _EDGE + number % columns * (each + _GAP)
        y = bottom + (rows - 1 - number // columns) * row + below
        box = Box(x + left, y, x + each - right, y + _PANEL_HEIGHT)
        _draw_panel(figure, panel, box, left, over, named)
    for number, entries in enumerate(reversed(keys)):
        for x, curve in entries:
            _draw_legend_entry(figure, curve, _EDGE + x, legend_bottom + (number + 0.5) * line)
    for number, words in enumerate(reversed(caption)):
        _write(figure, _EDGE, _EDGE + (number + 0.25) * line, words)
    return figure


def _panels(sweep: Sweep, measures: Sequence[str]) -> list[_Panel]:
    """Return a panel per measure that has a curve, all with the same x axis."""
    curves = {measure: curves_of(sweep, measure) for measure in measures}
    places = sorted({at for drawn in curves.values() for curve in drawn for at, _ in curve.known})
    if len(places) < 2:
        raise SpecError(
            f"a figure needs values at two points, and {listing(measures, 'and')} have "
            f"{len(places)}; sweep values at which more mixers are defined"
        )
    return [
        _Panel(
            measure=measure,
            label=sweep.label_of_measure(measure),
            curves=drawn,
            across=scale_of_option(places, most=6),
            up=scale_of_measure(
                [value for curve in drawn for value in curve.extent], unit_of(measure), most=7
            ),
        )
        for measure, drawn in curves.items()
        if drawn
    ]


def _draw_panel(
    figure: Figure, panel: _Panel, box: Box, left: float, over: str, named: bool
) -> None:
    """Draw the axes in the box, their titles below and left of it, the curves and crossovers."""
    axes = _axes(figure, panel, box)
    for place, curve in enumerate(panel.curves):
        _draw_curve(axes, curve, place / len(panel.curves))
    below = box.bottom - _TICK - _TICK_PAD - _TEXT * _LEADING - _PAD - 0.75 * _LABEL
    middle = (box.left + box.right) / 2
    _write(figure, middle, below, over, fontsize=_LABEL, horizontalalignment="center")
    _write(
        figure,
        box.left - left + _LABEL,
        (box.bottom + box.top) / 2,
        panel.label,
        fontsize=_LABEL,
        horizontalalignment="center",
        rotation=90,
        rotation_mode="anchor",
    )
    if named:
        _name_curves(figure, panel, box)
    _mark_crossings(figure, axes, panel, box)


def _axes(figure: Figure, panel: _Panel, box: Box) -> Axes:
    wide, high = (length * 72 for length in figure.get_size_inches())
    axes = figure.add_axes(
        (
            box.left / wide,
            box.bottom / high,
            (box.right - box.left) / wide,
            (box.top - box.bottom) / high,
        ),
        label=panel.measure,
    )
    if panel.across.logarithmic:
        axes.set_xscale("log")
    if panel.up.logarithmic:
        axes.set_yscale("log")
    axes.set_xlim(panel.across.low, panel.across.high)
    axes.set_ylim(panel.up.low, panel.up.high)
    for axis, scale in ((axes.xaxis, panel.across), (axes.yaxis, panel.up)):
        axis.set_major_locator(FixedLocator(list(scale.ticks)))
        axis.set_major_formatter(FixedFormatter(list(scale.ticks.values())))
        axis.set_minor_locator(FixedLocator(list(scale.minor)))
        axis.set_minor_formatter(NullFormatter())
        axis.grid(color=_FAINT, linewidth=0.5)
    return axes


def _draw_curve(axes: Axes, curve: Curve, shift: float) -> None:
    """Draw a curve; `shift`, from 0 to 1, moves its marks off those of the other curves."""
    step = ceil(len(curve.points) / _MOST_MARKS)
    axes.plot(
        [at for at, _ in curve.points],
        [nan if value is None else float(value) for _, value in curve.points],
        label=curve.name,
        markevery=(int(shift * step), step),
        **_look(curve),
    )
    for at, ends in curve.quartiles.items():
        axes.plot([at, at], ends, color=_look(curve)["color"], linewidth=0.9)
    unsettled = [point for point in curve.known if point[0] in curve.unsettled]
    if unsettled:
        axes.plot(
            [at for at, _ in unsettled],
            [value for _, value in unsettled],
            label=f"{curve.name}, unsettled",
            linestyle="none",
            marker="x",
            markersize=_MARK,
            markeredgecolor=_INK,
            markeredgewidth=0.9,
            zorder=4,
        )


def _look(curve: Curve) -> dict[str, Any]:
    """Return the style of a curve: colour and mark by mixer, dashes by the other options."""
    hue = _HUES[curve.of % len(_HUES)]
    dashes = _DASHES[(curve.variant if curve.variants > 1 else curve.of) % len(_DASHES)]
    mark = _MARKS[curve.of % len(_MARKS)]
    hollow = curve.variant >= len(_DASHES)
    return {
        "color": hue,
        "linewidth": 1.2,
        "linestyle": (0, dashes) if dashes else "-",
        "marker": mark,
        "markersize": _MARK * (1.5 if mark == "*" else 1.15 if mark in "^v" else 1),
        "markeredgewidth": 0.8 if hollow else 0.5,
        "markeredgecolor": hue if hollow else "white",
        "markerfacecolor": "white" if hollow else hue,
    }


def _name_curves(figure: Figure, panel: _Panel, box: Box) -> None:
    """Write the name of each curve to the right of the axes, near the end of the curve."""
    ends = [panel.point(box, *curve.known[-1]) for curve in panel.curves]
    half = _TEXT * _LEADING / 2
    heights = spread([y for _, y in ends], 2 * half, box.bottom + half, box.top - half)
    for curve, (x, y), height in zip(panel.curves, ends, heights, strict=True):
        start = box.right + _TO_NAME
        _draw_line(figure, (x, y, start - 1.5, height), _look(curve)["color"], 0.6)
        _write(figure, start, height - _DROP * _TEXT, curve.name)


def _mark_crossings(figure: Figure, axes: Axes, panel: _Panel, box: Box) -> None:
    """Draw a ring around each crossover, labelled with the value of the option."""
    found = sorted({(at, value) for curve in panel.curves for at, value, _ in crossed(curve)})
    places = [[panel.point(box, *point) for point in curve.known] for curve in panel.curves]
    segments = [(*start, *end) for curve in places for start, end in pairwise(curve)]
    taken = [_around(place, _MARK / 2) for curve in places for place in curve]
    taken += [_around(panel.point(box, *point), _RING) for point in found]
    for at, value in found:
        x, y = panel.point(box, at, value)
        axes.plot(
            [at],
            [value],
            label=f"crossover at {at}",
            marker="o",
            markersize=2 * _RING,
            markerfacecolor="none",
            markeredgecolor=_INK,
            markeredgewidth=0.9,
            zorder=4,
        )
        word = show_value(at)
        crowd = [panel.point(box, *point) for point in found if point != (at, value)]
        crowded = any(abs(x - to_x) + abs(y - to_y) < _CROWD for to_x, to_y in crowd)
        place = place_label(
            x,
            y,
            clear=_RING + (_POINTER if crowded else 0),
            width=_width_of(word),
            height=_TEXT,
            within=box,
            boxes=taken,
            segments=segments,
        )
        taken.append(place)
        _write(figure, place.left, place.bottom + (0.5 - _DROP) * _TEXT, word)
        _point_at(figure, place, x, y)


def _point_at(figure: Figure, word: Box, x: float, y: float) -> None:
    """Draw a line from a label to the ring around its point, if they are far enough apart."""
    from_x = min(max(x, word.left), word.right)
    from_y = min(max(y, word.bottom), word.top)
    away = ((from_x - x) ** 2 + (from_y - y) ** 2) ** 0.5
    if away > _RING + _POINTER / 2:
        share = _RING / away
        edge = (x + share * (from_x - x), y + share * (from_y - y))
        _draw_line(figure, (*edge, from_x, from_y), _INK, 0.5)


def _around(place: tuple[float, float], radius: float) -> Box:
    x, y = place
    return Box(x - radius, y - radius, x + radius, y + radius)


def _legend_lines(panels: Sequence[_Panel], width: float) -> list[list[tuple[float, Curve]]]:
    """Return the lines of the legend: each curve once, with its x position."""
    curves = list({curve.name: curve for panel in panels for curve in panel.curves}.values())
    wide = _SAMPLE + _PAD + max(_width_of(curve.name) for curve in curves) + _LEGEND_GAP
    columns = max(1, int((width + _LEGEND_GAP) / wide))
    return [
        [(number * wide, curve) for number, curve in enumerate(curves[first : first + columns])]
        for first in range(0, len(curves), columns)
    ]


def _draw_legend_entry(figure: Figure, curve: Curve, x: float, y: float) -> None:
    ends = [x / 72, (x + _SAMPLE / 2) / 72, (x + _SAMPLE) / 72]
    figure.add_artist(
        Line2D(ends, [y / 72] * 3, transform=figure.dpi_scale_trans, markevery=[1], **_look(curve))
    )
    _write(figure, x + _SAMPLE + _PAD, y - _DROP * _TEXT, curve.name)


def _draw_line(figure: Figure, segment: Segment, colour: str, width: float) -> None:
    x, y, to_x, to_y = (length / 72 for length in segment)
    across = figure.dpi_scale_trans
    figure.add_artist(Line2D([x, to_x], [y, to_y], transform=across, color=colour, linewidth=width))


def _write(figure: Figure, x: float, y: float, words: str, **how: Any) -> None:
    """Write text on a baseline at a position in points."""
    across = figure.dpi_scale_trans
    how = {"verticalalignment": "baseline", "fontsize": _TEXT, **how}
    figure.text(x / 72, y / 72, words, transform=across, **how)


def _width_of(words: str, size: float = _TEXT) -> float:
    font = FontProperties(family=_FONT, size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(words, font, ismath=False)
    return float(width)


def _wrapped(text: str, width: float) -> list[str]:
    """Wrap the text at blanks to lines of at most `width`."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width_of(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
