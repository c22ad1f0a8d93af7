"""Draw the figure of a sweep with matplotlib.

The same sweep gives the same bytes on every machine: text is laid out in the DejaVu Sans that
matplotlib ships, and neither a date nor the user's settings of matplotlib are used. In SVG and PDF
text is text. The caption is in the metadata of each file too. All lengths are in points.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from itertools import pairwise
from math import ceil, nan
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from vitprof.errors import SpecError, listing
from vitprof.formats.drawing.caption import caption_of
from vitprof.formats.drawing.crossings import Mark, marks_of
from vitprof.formats.drawing.curves import (
    Crossing,
    Curve,
    crossings_of,
    curves_of,
    names_of_curves,
    option_along,
    unit_of,
)
from vitprof.formats.drawing.drawing import Drawing
from vitprof.formats.drawing.labels import Box, Point, leader, spread
from vitprof.formats.drawing.layout import Content, Layout, Place, check_room, lay_out, with_ticks
from vitprof.formats.drawing.scale import Scale, scale_of_measure, scale_of_option, show_value
from vitprof.formats.drawing.style import FAINT, INK, LEADING, Lengths, look, style, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vitprof.report.sweep import Sweep

_DPI = 300
_DROP = 0.36  # from the middle of a line to its baseline, over font size
_MOST_MARKS = 10  # on a curve
_MOST_TICKS = 12  # on an axis
_TICK_ROOM = 2.8  # height of a tick of the y axis, over font size


def figure_file(sweep: Sweep, measures: Sequence[str], drawing: Drawing, format: str) -> bytes:
    """Return the figure as a PNG, SVG or PDF.

    Raises:
        SpecError: fewer than two places have a value, or there is no room.
    """
    with style(svg=format == "svg"):
        figure, said = compose(sweep, measures, drawing)
        title = str(figure.get_label())
        metadata: dict[str, dict[str, str | None]] = {
            "png": {"Software": None, "Title": title, "Description": said},
            "svg": {"Date": None, "Creator": None, "Title": title},
            "pdf": {
                **{"CreationDate": None, "Producer": None, "Creator": None},
                **{"Title": title, "Subject": said},
            },
        }
        file = BytesIO()
        figure.savefig(file, format=format, dpi=_DPI, metadata=metadata[format])
    if format != "svg":
        return file.getvalue()
    described = f"</title>\n <desc>{escape(said, quote=False)}</desc>"
    return file.getvalue().replace(b"</title>", described.encode(), 1)


def check_figure(sweep: Sweep, measures: Sequence[str], drawing: Drawing) -> None:
    """Raise SpecError if a figure of this size has no room for all curves of a sweep."""
    names = tuple(names_of_curves(sweep))
    contents = [Content(sweep.label_of_measure(measure), names) for measure in measures]
    check_room(contents, drawing.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """Panel of one measure: its curves, the scales of its axes and its place."""

    measure: str
    label: str
    curves: list[Curve]
    across: Scale
    up: Scale
    place: Place

    def point(self, at: float, value: float) -> Point:
        """Return the position of a point."""
        box = self.place.box
        return (
            box.left + self.across.place(at) * (box.right - box.left),
            box.bottom + self.up.place(value) * (box.top - box.bottom),
        )


def compose(sweep: Sweep, measures: Sequence[str], drawing: Drawing) -> tuple[Figure, str]:
    """Return the figure and its caption; call it and save the figure within `style`.

    Raises:
        SpecError: fewer than two places have a value, or there is no room.
    """
    curves = _curves(sweep, measures, drawing)
    said = caption_of(sweep, curves, drawing.scales)
    layout, panels = _panels(sweep, curves, said if drawing.caption else "", drawing)
    size = (layout.width / 72, layout.height / 72)
    over = sweep.label_of_option(option_along(sweep.axes))
    canvas = _Canvas(Figure(figsize=size, dpi=72), layout)
    canvas.figure.set_label(f"{listing((panel.label for panel in panels), 'and')} over {over}")
    for panel in panels:
        canvas.draw_panel(panel, over)
    canvas.draw_legend({curve.name: curve for panel in panels for curve in panel.curves})
    canvas.draw_caption()
    return canvas.figure, said


def _curves(sweep: Sweep, measures: Sequence[str], drawing: Drawing) -> dict[str, list[Curve]]:
    """Return the curves of each measure that has one."""
    found = {measure: curves_of(sweep, measure, drawing.scales.y) for measure in measures}
    places = {at for curves in found.values() for curve in curves for at, _ in curve.known}
    if len(places) < 2:
        raise SpecError(
            f"a figure needs values at two points, and {listing(measures, 'and')} have "
            f"{len(places)}; sweep values at which more mixers are defined"
        )
    return {measure: curves for measure, curves in found.items() if curves}


def _panels(
    sweep: Sweep, curves: dict[str, list[Curve]], caption: str, drawing: Drawing
) -> tuple[Layout, list[_Panel]]:
    """Return the layout and the panels, all with the same x axis."""
    labels = {measure: sweep.label_of_measure(measure) for measure in curves}
    names = {measure: tuple(curve.name for curve in of) for measure, of in curves.items()}
    contents = [Content(labels[measure], names[measure]) for measure in curves]
    check_room(contents, drawing.size)
    layout = lay_out(contents, caption, drawing.size)
    # As many ticks as have room, and then as much room as their labels take.
    box, text = layout.places[0].box, layout.lengths.text
    places = sorted({at for of in curves.values() for curve in of for at, _ in curve.known})
    widest = max(width_of(show_value(at), text) for at in places)
    most = min((box.right - box.left) / (widest + text / 2), _MOST_TICKS)
    across = scale_of_option(places, most, drawing.scales.x)
    up = {
        measure: scale_of_measure(
            [value for curve in of for value in curve.extent],
            unit_of(measure),
            min(max(2, int((box.top - box.bottom) / (_TICK_ROOM * text))), _MOST_TICKS),
            drawing.scales.y,
        )
        for measure, of in curves.items()
    }
    contents = [
        Content(labels[measure], names[measure], tuple(up[measure].ticks.values()))
        for measure in curves
    ]
    layout = with_ticks(layout, contents, caption, drawing.size)
    return layout, [
        _Panel(
            measure=measure,
            label=labels[measure],
            curves=of,
            across=across,
            up=up[measure],
            place=place,
        )
        for (measure, of), place in zip(curves.items(), layout.places, strict=True)
    ]


class _Canvas:
    """Figure that is drawn on, in points."""

    def __init__(self, figure: Figure, layout: Layout) -> None:
        self.figure = figure
        self._layout = layout
        self._lengths: Lengths = layout.lengths

    def draw_panel(self, panel: _Panel, over: str) -> None:
        """Draw the axes, their titles, the curves, their names and the crossovers."""
        axes = self._axes(panel)
        for number, curve in enumerate(panel.curves):
            self._draw_curve(axes, curve, number / len(panel.curves))
        if panel.place.lowest:
            self._title_below(panel, over)
        self._title_left(panel)
        if self._layout.named:
            self._name_curves(panel)
        self._mark_crossings(axes, panel)

    def draw_legend(self, curves: dict[str, Curve]) -> None:
        """Draw the legend, if there is one."""
        lengths, lines = self._lengths, self._layout.legend
        for number, entries in enumerate(reversed(lines)):
            y = self._layout.legend_bottom + (number + 0.5) * lengths.line
            for shift, name in entries:
                x = lengths.edge + shift
                ends = [x, x + lengths.sample / 2, x + lengths.sample]
                self._add_line(ends, [y] * 3, markevery=[1], **look(curves[name], lengths))
                start = x + lengths.sample + lengths.pad
                self._write(start, y - _DROP * lengths.text, name)

    def draw_caption(self) -> None:
        """Write the caption, if there is one."""
        edge = self._lengths.edge
        for number, words in enumerate(reversed(self._layout.caption)):
            self._write(edge, edge + (number + 0.25) * self._lengths.line, words)

    def _axes(self, panel: _Panel) -> Axes:
        box, lengths = panel.place.box, self._lengths
        wide, high = self._layout.width, self._layout.height
        axes = self.figure.add_axes(
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
            axis.grid(color=FAINT, linewidth=lengths.hair)
        axes.tick_params(
            which="major",
            length=lengths.tick,
            width=lengths.thin,
            pad=lengths.tick_pad,
            labelsize=lengths.text,
        )
        axes.tick_params(which="minor", length=lengths.tick / 2, width=lengths.hair)
        axes.tick_params(axis="x", labelbottom=panel.place.lowest)
        for spine in axes.spines.values():
            spine.set_linewidth(lengths.thin)
        return axes

    def _draw_curve(self, axes: Axes, curve: Curve, shift: float) -> None:
        """Draw a curve; `shift`, from 0 to 1, moves its marks off those of the other curves."""
        lengths = self._lengths
        looks = look(curve, lengths)
        step = ceil(len(curve.points) / _MOST_MARKS)
        axes.plot(
            [at for at, _ in curve.points],
            [nan if value is None else float(value) for _, value in curve.points],
            label=curve.name,
            markevery=(int(shift * step), step),
            **looks,
        )
        for at, ends in curve.quartiles.items():
            axes.plot([at, at], ends, color=looks["color"], linewidth=1.5 * lengths.thin)
        unsettled = [point for point in curve.known if point[0] in curve.unsettled]
        if unsettled:
            axes.plot(
                [at for at, _ in unsettled],
                [value for _, value in unsettled],
                label=f"{curve.name}, unsettled",
                linestyle="none",
                marker="x",
                markersize=lengths.mark,
                markeredgecolor=INK,
                markeredgewidth=1.5 * lengths.thin,
                zorder=4,
            )

    def _title_below(self, panel: _Panel, over: str) -> None:
        box, lengths = panel.place.box, self._lengths
        under = lengths.tick + lengths.tick_pad + lengths.line + lengths.pad
        y = box.bottom - under - 0.75 * lengths.label
        self._write_title((box.left + box.right) / 2, y, over)

    def _title_left(self, panel: _Panel) -> None:
        box, lengths = panel.place.box, self._lengths
        for number, words in enumerate(panel.place.title):
            x = box.left - self._layout.left + lengths.label * (1 + number * LEADING)
            self._write_title(
                x, (box.bottom + box.top) / 2, words, rotation=90, rotation_mode="anchor"
            )

    def _name_curves(self, panel: _Panel) -> None:
        """Write the name of each curve to the right of the axes, near the end of the curve."""
        box, lengths = panel.place.box, self._lengths
        ends = [panel.point(*curve.known[-1]) for curve in panel.curves]
        half = lengths.line / 2
        heights = spread([y for _, y in ends], 2 * half, box.bottom + half, box.top - half)
        start = box.right + lengths.to_name
        for curve, (x, y), height in zip(panel.curves, ends, heights, strict=True):
            hue = look(curve, lengths)["color"]
            self._add_line(
                [x, start - lengths.pad / 2], [y, height], color=hue, linewidth=lengths.thin
            )
            self._write(start, height - _DROP * lengths.text, curve.name)

    def _mark_crossings(self, axes: Axes, panel: _Panel) -> None:
        """Draw a ring around each crossover, labelled with the value of the option."""
        lengths = self._lengths
        found: dict[Point, list[Crossing]] = defaultdict(list)
        for curve in panel.curves:
            for crossing in crossings_of(curve):
                found[panel.point(crossing.at, crossing.value)].append(crossing)
        places = [[panel.point(*point) for point in curve.known] for curve in panel.curves]
        for mark, label in marks_of(
            found,
            radius=lengths.ring,
            size_of=lambda words: (width_of(words, lengths.text), lengths.text),
            within=panel.place.box,
            boxes=[_around(place, lengths.mark / 2) for curve in places for place in curve],
            segments=[(*start, *end) for curve in places for start, end in pairwise(curve)],
        ):
            self._draw_ring(axes, mark)
            line = leader(label, (mark.x, mark.y), lengths.ring)
            if line is not None:
                self._add_line(line[::2], line[1::2], color=INK, linewidth=lengths.hair)
            y = label.bottom + (0.5 - _DROP) * lengths.text
            self._write(label.left, y, mark.words)

    def _draw_ring(self, axes: Axes, mark: Mark) -> None:
        lengths = self._lengths
        axes.plot(
            [mark.x / 72],
            [mark.y / 72],
            label=f"crossover at {mark.words}",
            transform=self.figure.dpi_scale_trans,
            marker="o",
            markersize=2 * lengths.ring,
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=1.5 * lengths.thin,
            clip_on=False,
            zorder=4,
        )

    def _add_line(self, x: Sequence[float], y: Sequence[float], **how: Any) -> None:
        inches = ([length / 72 for length in along] for along in (x, y))
        self.figure.add_artist(Line2D(*inches, transform=self.figure.dpi_scale_trans, **how))

    def _write_title(self, x: float, y: float, words: str, **how: Any) -> None:
        how = {"fontsize": self._lengths.label, "horizontalalignment": "center", **how}
        self._write(x, y, words, **how)

    def _write(self, x: float, y: float, words: str, **how: Any) -> None:
        """Write text on a baseline."""
        across = self.figure.dpi_scale_trans
        how = {"verticalalignment": "baseline", "fontsize": self._lengths.text, **how}
        self.figure.text(x / 72, y / 72, words, transform=across, **how)


def _around(place: Point, radius: float) -> Box:
    x, y = place
    return Box(x - radius, y - radius, x + radius, y + radius)
