"""Models side by side as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from vitprof.report.comparison import Comparison
from vitprof.report.comparison_lines import cells, facts, heading, layer_lines, title
from vitprof.report.grid import add_row, grid
from vitprof.report.quantities import QUANTITIES

_ANY_WIDTH = 10_000


def comparison_to_table(
    comparison: Comparison, console: Console, options: ConsoleOptions
) -> Iterator[RenderableType]:
    """A line a model, a line a layer that differs, and from where on which is cheaper.

    What is too wide for the terminal is several tables, and no figure is cut.
    """

    def fits(table: Table) -> bool:
        natural = Measurement.get(console, options.update(max_width=_ANY_WIDTH), table)
        return natural.maximum <= options.max_width

    yield Text(title(comparison), style="bold")
    yield ""
    measures, names = comparison.measures, [side.name for side in comparison.sides]
    yield from _parts(measures, partial(_amounts, comparison), fits)
    if comparison.differences:
        for measure in comparison.differences[0].counts:
            yield from _parts(names, partial(_layers, comparison, measure), fits)
    for crossover in comparison.crossovers:
        yield Text(crossover.sentence)
    if comparison.crossovers:
        yield ""
    yield grid(facts(comparison))


def _parts(
    columns: Sequence[str], table: Callable[[Sequence[str]], Table], fits: Callable[[Table], bool]
) -> Iterator[RenderableType]:
    """Tables of as many of the columns as fit, and an empty line after each."""
    while columns:
        some = next((n for n in range(len(columns), 1, -1) if fits(table(columns[:n]))), 1)
        yield table(columns[:some])
        yield ""
        columns = columns[some:]


def _amounts(comparison: Comparison, measures: Sequence[str]) -> Table:
    table = _table("")
    for measure in measures:
        table.add_column(heading(comparison, measure), justify="right", overflow="fold")
        table.add_column("", style="dim", no_wrap=True)
    for side in comparison.sides:
        pairs = (cells(comparison, side, measure) for measure in measures)
        add_row(table, (side.name, *(cell for pair in pairs for cell in pair)))
    return table


def _layers(comparison: Comparison, measure: str, names: Sequence[str]) -> Table:
    table = _table(f"{QUANTITIES[measure].title} that differ")
    places = [place for place, side in enumerate(comparison.sides) if side.name in names]
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for _, label, counts in layer_lines(comparison, measure):
        some = [counts[place] for place in places]
        if any(some):
            add_row(table, (label, *some))
    return table


def _table(corner: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(corner, overflow="fold")
    return table
