"""Figures, and what has to hold for each of them."""

from __future__ import annotations

from itertools import combinations

import numpy
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from vitprof.formats.drawing.drawing import Drawing
from vitprof.formats.drawing.figure import compose
from vitprof.formats.drawing.style import style
from vitprof.report.sweep import Sweep


def composed(sweep: Sweep, drawing: Drawing | None = None) -> Figure:
    with style():
        figure, _ = compose(sweep, sweep.measures, drawing or Drawing())
        FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    return figure


def curves(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if not str(line.get_label()).startswith("crossover")]


def rings(axes: Axes) -> list[tuple[float, float]]:
    """Return the middles of the rings in pixels, from left to right."""
    ringed = [line for line in axes.lines if str(line.get_label()).startswith("crossover")]
    return sorted(
        (float(x), float(y))
        for line in ringed
        for x, y in line.get_transform().transform(points(line))
    )


def points(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in numpy.asarray(line.get_xydata())]


def words(figure: Figure) -> list[Text]:
    """Return every visible text."""
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def boxes_of(figure: Figure) -> dict[Text, Bbox]:
    """Return the box of the ink of each text; its own box has the room between lines in it."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    return {text: text.get_window_extent(renderer).padded(-0.6) for text in words(figure)}


def check_words(figure: Figure) -> None:
    """Assert that no word meets another or a ring, nor leaves the figure."""
    boxes = boxes_of(figure)
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    for one, other in combinations(boxes, 2):
        assert not boxes[one].overlaps(boxes[other]), (one, other)
    for axes in figure.axes:
        for x, y in rings(axes):
            ring = Bbox([[x - 2, y - 2], [x + 2, y + 2]])  # within the circle
            assert not any(box.overlaps(ring) for box in boxes.values())
