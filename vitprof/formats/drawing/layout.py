"""Layout of a figure: where its panels, legend and caption are.

From the top down stand rows of panels, the legend and the caption. All lengths are in points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil

from vitprof.errors import SpecError
from vitprof.formats.drawing.labels import Box
from vitprof.formats.drawing.size import LARGEST, Size
from vitprof.formats.drawing.style import LEADING, Lengths, width_of, wrapped

COLUMN = 3.5 * 72  # width of a paper's column, and of one panel
_PANEL_HEIGHT, _ROW = 150.0, 200.0  # of the axes, and with titles
_LEAST_WIDTH, _LEAST_HEIGHT = 80.0, 44.0  # of the axes
_ASPECT = 1.3  # width over height of a good panel
_BESIDE_CURVES = 1.2  # how much better names beside the curves are than in a legend
_LARGEST_UNIT = 1.75
_MOST_NAMED = 0.34  # share of a panel's width for names; longer names go to a legend
_WIDEST_TICK = "1,000 MiB"


@dataclass(frozen=True, slots=True)
class Content:
    """Texts of a panel.

    Attributes:
        title: title of the y axis.
        names: names of the curves.
        ticks: labels of the y axis.
    """

    title: str
    names: tuple[str, ...]
    ticks: tuple[str, ...] = (_WIDEST_TICK,)


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a panel.

    Attributes:
        box: box of the axes.
        title: lines of the title of the y axis.
        lowest: True if no panel is below it, so that the x axis has labels.
    """

    box: Box
    title: list[str]
    lowest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Places of all that is in a figure.

    Attributes:
        lengths: lengths of the figure.
        columns: number of columns of panels.
        width: width of the figure.
        height: height of the figure, with its caption.
        places: places of the panels.
        left: room of the titles and labels of the y axes.
        named: True if the names are beside the curves, not in a legend.
        legend: lines of the legend: x and name of each entry.
        legend_bottom: y of the legend.
        caption: lines of the caption.
    """

    lengths: Lengths
    columns: int
    width: float
    height: float
    places: list[Place]
    left: float
    named: bool
    legend: list[list[tuple[float, str]]]
    legend_bottom: float
    caption: list[str]


def check_room(panels: Sequence[Content], size: Size) -> None:
    """Raise SpecError if the panels have no room in a figure of this size."""
    if _fits(lay_out(panels, "", size)):
        return
    taller = (Size(size.width, tenths / 10) for tenths in range(1, round(LARGEST * 10)))
    wider = (
        Size(tenths / 10, size.height and max(size.height, tenths / 20))
        for tenths in range(1, round(LARGEST * 10))
    )
    least = next(
        one
        for sizes in ((taller, wider) if size.height else (wider,))
        for one in sizes
        if one.width >= size.width and one.height >= size.height
        if _fits(lay_out(panels, "", one))
    )
    curves = len({name for panel in panels for name in panel.names})
    raise SpecError(
        f"a figure of {size} inches has no room for {_number(len(panels), 'panel')} with "
        f"{_number(curves, 'curve')}; give {least} or more, or fewer measures or mixers"
    )


def lay_out(panels: Sequence[Content], caption: str, size: Size) -> Layout:
    """Return the layout of a figure; with a size, text is as large as suits it."""
    if not size.height:
        columns = min(len(panels), 1 if 0 < size.width * 72 < 1.5 * COLUMN else 2)
        return _laid_out(panels, caption, size, columns, 1.0, named=True)
    return max(
        (
            _enlarged(panels, caption, size, columns, named=named)
            for columns in range(1, len(panels) + 1)
            for named in (True, False)
        ),
        key=_fitness,
    )


def with_ticks(layout: Layout, panels: Sequence[Content], caption: str, size: Size) -> Layout:
    """Return a layout with as many columns and as large text as another, and room for its ticks."""
    unit = layout.lengths.text / Lengths().text
    return _laid_out(panels, caption, size, layout.columns, unit, named=layout.named)


def _enlarged(
    panels: Sequence[Content], caption: str, size: Size, columns: int, *, named: bool
) -> Layout:
    row = size.height * 72 / ceil(len(panels) / columns)
    unit = min(size.width * 72 / columns / COLUMN, row / _ROW, _LARGEST_UNIT)
    enlarged = _laid_out(panels, caption, size, columns, max(unit, 1.0), named=named)
    if unit <= 1 or _fits(enlarged):
        return enlarged
    return _laid_out(panels, caption, size, columns, 1.0, named=named)


def _fits(layout: Layout) -> bool:
    box = layout.places[0].box
    return box.right - box.left >= _LEAST_WIDTH and box.top - box.bottom >= _LEAST_HEIGHT


def _fitness(layout: Layout) -> tuple[bool, float]:
    """Return how good the panels of a layout are; they are all of one size."""
    box = layout.places[0].box
    least = min((box.right - box.left) / _ASPECT, box.top - box.bottom)
    return _fits(layout), least * (_BESIDE_CURVES if layout.named else 1)


def _laid_out(
    panels: Sequence[Content],
    caption: str,
    size: Size,
    columns: int,
    unit: float,
    *,
    named: bool,
) -> Layout:
    """Return a layout; `named` is True to have the names beside the curves, if there is room."""
    lengths = Lengths().enlarged(unit)
    rows = ceil(len(panels) / columns)
    wide = size.width * 72 or COLUMN * columns
    inside = wide - 2 * lengths.edge
    each = (inside - lengths.gap * (columns - 1)) / columns
    ticks = lengths.tick + lengths.tick_pad
    below = ticks + lengths.line + lengths.pad + lengths.label
    # Panels above each other share the labels of the x axis where the height is given.
    between = lengths.gap if size.height else below + lengths.gap
    around = 2 * lengths.edge + lengths.text + below + (rows - 1) * between
    room = (size.height * 72 - around) / rows if size.height else _PANEL_HEIGHT
    names = max(width_of(name, lengths.text) for panel in panels for name in panel.names)
    right = lengths.to_name + names
    named = (
        named
        and right <= _MOST_NAMED * each
        and all(len(panel.names) * lengths.line <= room for panel in panels)
    )
    legend = [] if named else _legend(panels, inside, lengths)
    legend_height = len(legend) * lengths.line + 2 * lengths.pad if legend else 0
    high = room - legend_height / rows if size.height else room
    titles = [wrapped(panel.title, max(high, 1), lengths.label) for panel in panels]
    ticked = max(width_of(tick, lengths.text) for panel in panels for tick in panel.ticks)
    left = max(map(len, titles)) * LEADING * lengths.label + lengths.pad + ticked + ticks
    said = wrapped(caption, inside, lengths.text)
    caption_height = len(said) * lengths.line + 2 * lengths.pad if said else 0
    legend_bottom = lengths.edge + caption_height
    bottom = legend_bottom + legend_height + below
    places = []
    for number, title in zip(count(), titles):
        column, row = number % columns, rows - 1 - number // columns
        x, y = lengths.edge + column * (each + lengths.gap), bottom + row * (high + between)
        box = Box(x + left, y, x + each - (right if named else lengths.pad), y + high)
        lowest = not size.height or number + columns >= len(panels)
        places.append(Place(box, title, lowest))
    return Layout(
        lengths=lengths,
        columns=columns,
        width=wide,
        height=bottom + rows * high + (rows - 1) * between + lengths.text + lengths.edge,
        places=places,
        left=left,
        named=named,
        legend=legend,
        legend_bottom=legend_bottom,
        caption=said,
    )


def _legend(
    panels: Sequence[Content], width: float, lengths: Lengths
) -> list[list[tuple[float, str]]]:
    """Return the lines of the legend: each curve once, with its x position."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.names))
    widest = max(width_of(name, lengths.text) for name in names)
    wide = lengths.sample + lengths.pad + widest + lengths.legend_gap
    columns = max(1, int((width + lengths.legend_gap) / wide))
    return [
        [(number * wide, name) for number, name in enumerate(names[first : first + columns])]
        for first in range(0, len(names), columns)
    ]


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
