"""A report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from vitprof.report.grid import add_row, grid
from vitprof.report.records import facts, subject
from vitprof.report.report import Report, Row
from vitprof.report.verdict import why

_TITLES = {"params": "Parameters", "macs": "Multiply-accumulates"}
_FORMULA_WIDTH = 38  # a longer formula wraps before it pushes the counters off the screen
_LABEL_WIDTH = 8  # a layer's name can be broken into as little
_ANY_WIDTH = 10_000


def to_table(report: Report, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
    """One table where it fits; else counts and formulas apart, and no figure cut."""
    tools = (*report.counters, *report.unavailable)

    def fits(table: Table) -> bool:
        natural = Measurement.get(console, options.update(max_width=_ANY_WIDTH), table)
        return natural.maximum <= options.max_width

    yield Text(_title(report), style="bold")
    yield ""
    whole = _table(report, tools, formulas=True)
    if fits(whole):
        yield whole
    else:
        for table in _counts_apart(report, tools, fits, options.max_width):
            yield table
            yield ""
        yield _table(report, None, formulas=True)
    yield ""
    yield grid(facts(report))


def why_to_table(report: Report) -> Iterator[RenderableType]:
    """Each tool's causes, path by path, with their sums."""
    yield ""
    yield Text("Why the tools differ", style="bold")
    yield ""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("tool", "cause", "layer"):
        table.add_column(name, overflow="fold")
    table.add_column("amount", justify="right", no_wrap=True)
    for tool, cause, path, amount in why(report):
        add_row(table, (tool, cause, path, amount), style="bold" if cause else "")
    yield table


def _title(report: Report) -> str:
    title = f"{_TITLES[report.command]} of {subject(report.spec)}"
    return f"{title}, batch {report.spec['batch']}" if "batch" in report.spec else title


def _counts_apart(
    report: Report, tools: tuple[str, ...], fits: Callable[[Table], bool], room: int
) -> Iterator[Table]:
    """Tables of the counts, each beside as many of the tools as fit; or of a column each."""
    widest = max(_width(report, tool) for tool in tools) if tools else 0
    if _LABEL_WIDTH + _width(report, "count") + widest > room:
        yield _table(report, (), tight=True)
        for tool in tools:
            yield _table(report, (tool,), counts=False, tight=True)
        return
    while True:
        table = _table(report, tools[:1], tight=True)
        shown = 1
        for some in range(len(tools), 0, -1):
            loose = _table(report, tools[:some])
            tight = _table(report, tools[:some], tight=True)
            if fits(tight):
                table, shown = (loose if fits(loose) else tight), some
                break
        yield table
        tools = tools[shown:]
        if not tools:
            return


def _table(
    report: Report,
    tools: tuple[str, ...] | None,
    *,
    counts: bool = True,
    formulas: bool = False,
    tight: bool = False,
) -> Table:
    """Rows with their formulas, and with their counts beside `tools` unless that is None."""
    padding = (0, 0 if tight else 1, 0, 0)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=padding)
    folded = any(row.repeat > 1 for row in report.tree)
    table.add_column("layer", overflow="fold")
    if formulas:
        table.add_column("type", style="dim", overflow="fold")
        table.add_column("formula", max_width=_FORMULA_WIDTH, overflow="fold")
        table.add_column("numbers", max_width=_FORMULA_WIDTH, style="dim", overflow="fold")
        if folded:
            table.add_column("of one", justify="right", no_wrap=True)
    if tools is not None:
        for name in (*(["count"] if counts else []), *tools):
            width = _width(report, name)
            table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for row in report.tree:
        cells: list[str | Text] = [_label(row)]
        if formulas:
            cells += [row.type, row.formula, row.numbers]
            if folded:
                cells.append(f"{row.each:,}")
        if tools is not None:
            cells += [f"{row.count:,}"] if counts else []
            cells += _said(row.counters, tools, row.count)
        add_row(table, cells, style="" if row.leaf else "bold")
    if tools is not None:
        _add_totals(table, report, tools, counts=counts)
    return table


def _add_totals(table: Table, report: Report, tools: tuple[str, ...], *, counts: bool) -> None:
    table.add_section()
    blanks = [""] * (len(table.columns) - 1 - counts - len(tools))
    for name, count in report.totals.items():
        headline = name == report.headline
        if not counts and not headline:
            continue
        cells: list[str | Text] = [name.replace("_", " "), *blanks]
        cells += [f"{count:,}"] if counts else []
        cells += _said(report.counters, tools, count) if headline else []
        add_row(table, cells, style="bold" if headline else "")


def _width(report: Report, column: str) -> int:
    return max(len(cell) for cell in _figures(report, column))


def _figures(report: Report, column: str) -> list[str]:
    """Every cell of a column of figures."""
    if column == "count":
        return [
            f"{count:,}" for count in (*(r.count for r in report.tree), *report.totals.values())
        ]
    said = [*(row.counters.get(column) for row in report.tree), report.counters.get(column)]
    return ["n/a", *(f"{count:,}" for count in said if count is not None)]


def _said(readings: Mapping[str, int | None], tools: tuple[str, ...], count: int) -> list[Text]:
    """What each tool says of a count, marked where it differs; n/a where it cannot."""
    cells = []
    for tool in tools:
        reading = readings.get(tool)
        missing = "" if tool in readings else "n/a"
        differs = reading is not None and reading != count
        text = missing if reading is None else f"{reading:,}"
        cells.append(Text(text, style="yellow" if differs else ""))
    return cells


def _label(row: Row) -> str:
    times = f" ×{row.repeat}" if "-" in row.name else ""
    return "  " * (row.level - 1) + row.name + times
