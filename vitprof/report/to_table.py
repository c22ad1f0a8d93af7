"""A report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from vitprof.report.catalogue import Catalogue
from vitprof.report.records import facts
from vitprof.report.report import Report, Row

_TITLES = {"params": "Parameters", "macs": "Multiply-accumulates"}
_FORMULA_WIDTH = 38  # a longer formula wraps before it pushes the counters off the screen


def to_table(report: Report, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
    """One table where it fits, else the counts and the formulas in one each."""
    yield Text(_title(report), style="bold")
    yield ""
    whole = _table(report, formulas=True, counts=True)
    needed = Measurement.get(console, options.update(max_width=10_000), whole).maximum
    if needed <= options.max_width:
        yield whole
    else:
        yield _table(report, formulas=False, counts=True)
        yield ""
        yield _table(report, formulas=True, counts=False)
    yield ""
    yield _facts(report)


def _title(report: Report) -> str:
    title = f"{_TITLES[report.command]} of {report.spec['model']} with {report.spec['mixer']}"
    return f"{title}, batch {report.spec['batch']}" if "batch" in report.spec else title


def _table(report: Report, *, formulas: bool, counts: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("layer", no_wrap=True)
    folded = any(row.repeat > 1 for row in report.tree)
    if formulas:
        table.add_column("type", style="dim", no_wrap=True)
        table.add_column("formula", max_width=_FORMULA_WIDTH)
        table.add_column("numbers", max_width=_FORMULA_WIDTH, style="dim")
    if folded and formulas:
        table.add_column("of one", justify="right", no_wrap=True)
    if counts:
        for name in ("count", *report.counters, *report.unavailable):
            table.add_column(name, justify="right", no_wrap=True)
    for row in report.tree:
        cells: list[Text | str] = [_label(row)]
        if formulas:
            cells += [row.type, row.formula, row.numbers]
        if folded and formulas:
            cells.append(f"{row.each:,}")
        if counts:
            cells += _counts(row.count, row.counters, report)
        table.add_row(*cells, style=None if row.leaf else "bold")
    if counts:
        _add_totals(table, report, blanks=(3 + folded) * formulas)
    return table


def _add_totals(table: Table, report: Report, *, blanks: int) -> None:
    table.add_section()
    for name, count in report.totals.items():
        headline = name == report.headline
        cells = _counts(count, report.counters, report) if headline else [f"{count:,}"]
        style = "bold" if headline else None
        table.add_row(name.replace("_", " "), *[""] * blanks, *cells, style=style)


def _counts(count: int, readings: Mapping[str, int | None], report: Report) -> list[Text | str]:
    return [
        f"{count:,}",
        *(_reading(readings[tool], count) for tool in report.counters),
        *("n/a" for _ in report.unavailable),
    ]


def _reading(reading: int | None, count: int) -> Text:
    if reading is None:
        return Text("")
    return Text(f"{reading:,}", style="" if reading == count else "yellow")


def _label(row: Row) -> str:
    times = f" ×{row.repeat}" if "-" in row.name else ""
    return "  " * (row.level - 1) + row.name + times


def _facts(report: Report) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for name, text in facts(report).items():
        grid.add_row(name, text)
    return grid


def catalogue_to_table(catalogue: Catalogue) -> Iterator[RenderableType]:
    """Each entry's name and summary, and below them its formulas, options and source."""
    for entry in catalogue.entries:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column()
        grid.add_row("  params", entry.params)
        grid.add_row("  MACs", entry.macs)
        options = ", ".join(
            f"--{name.replace('_', '-')} {value}" for name, value in entry.options.items()
        )
        grid.add_row("  options", options or "none of its own")
        if entry.aliases:
            grid.add_row("  also", ", ".join(entry.aliases))
        grid.add_row("  source", entry.source)
        yield Text.assemble((entry.name, "bold"), f"  {entry.summary}")
        yield grid
        yield ""
    yield Text(catalogue.symbols, style="dim")
