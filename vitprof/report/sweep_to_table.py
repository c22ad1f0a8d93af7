"""A sweep as tables for a terminal and for Markdown, one a measure, and as charts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from vitprof.drawing.chart import chart
from vitprof.drawing.curves import label_of_measure
from vitprof.report.grid import add_row, grid
from vitprof.report.sweep_lines import crossings, facts, table, title

if TYPE_CHECKING:
    from vitprof.report.sweep import Sweep


_PADDING = 2
_GAP = _PADDING + 1  # between two columns of a table: the padding, and the box's own blank


def sweep_to_table(sweep: Sweep, width: int) -> Iterator[RenderableType]:
    """A table a measure, several where the curves are too many for the width, and conditions."""
    yield Text(title(sweep), style="bold")
    yield ""
    for measure in sweep.measures:
        name = label_of_measure(sweep, measure)
        for header, rows in _that_fit(*table(sweep, measure), keys=len(sweep.axes), width=width):
            yield Text(name)
            yield _table(header, rows, words=0)
            yield ""
    header, rows = crossings(sweep)
    if rows:
        yield _table(header, rows, words=2)
        yield ""
    yield grid(facts(sweep))


def _that_fit(
    header: list[str], rows: list[list[str]], *, keys: int, width: int
) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The table's columns in parts no wider than `width`, each beginning with the keys."""
    widths = [max(map(len, column)) + _GAP for column in zip(header, *rows, strict=True)]
    groups: list[list[int]] = [[]]
    for place in range(keys, len(header)):
        taken = sum(widths[:keys]) + sum(widths[one] for one in groups[-1])
        if groups[-1] and taken + widths[place] - _GAP > width:
            groups.append([])
        groups[-1].append(place)
    for group in groups:
        shown = [*range(keys), *group]
        yield [header[one] for one in shown], [[row[one] for one in shown] for row in rows]


def _table(header: list[str], rows: list[list[str]], *, words: int) -> Table:
    """A table of numbers, but for so many columns of words."""
    shown = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, _PADDING, 0, 0),
    )
    for place, name in enumerate(header):
        shown.add_column(name, justify="left" if place < words else "right", overflow="fold")
    for row in rows:
        add_row(shown, row)
    return shown


def sweep_to_markdown(sweep: Sweep) -> str:
    """A GitHub table a measure, then crossings and conditions as a list."""
    parts = []
    for measure in sweep.measures:
        text = _tabulate(*table(sweep, measure), words=0)
        parts += [label_of_measure(sweep, measure), "", text, ""]
    header, rows = crossings(sweep)
    if rows:
        parts += [_tabulate(header, rows, words=2), ""]
    parts += [f"- {name}: {text}" for name, text in facts(sweep).items()]
    return "\n".join(parts) + "\n"


def _tabulate(header: list[str], rows: list[list[str]], *, words: int) -> str:
    align = ["left" if place < words else "right" for place in range(len(header))]
    return tabulate(rows, header, tablefmt="github", colalign=align, disable_numparse=True)


@dataclass(frozen=True, slots=True)
class Charts:
    """A chart of characters a measure, below a sweep's tables."""

    sweep: Sweep

    def to_markdown(self) -> str:
        """The charts as blocks of code."""
        charts = (chart(self.sweep, measure, 80, colour=False) for measure in self.sweep.measures)
        return "\n".join(f"```text\n{text}```\n" for text in charts if text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        colour = console.color_system is not None and not console.no_color
        for measure in self.sweep.measures:
            text = chart(self.sweep, measure, options.max_width, colour=colour)
            if text:
                yield Text.from_ansi(text)
