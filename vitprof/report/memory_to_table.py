"""A memory report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from vitprof.bytes import show_bytes
from vitprof.report.grid import add_row, grid
from vitprof.report.memory import MemoryReport
from vitprof.report.memory_lines import facts, title


def memory_to_table(report: MemoryReport) -> Iterator[RenderableType]:
    """What each layer keeps, what is held at the peak, and the conditions."""
    yield Text(title(report), style="bold")
    yield ""
    if report.tree:
        yield _kept(report)
        yield ""
    yield _held(report)
    yield ""
    yield grid(facts(report))


def _kept(report: MemoryReport) -> Table:
    folded = any(row.repeat > 1 for row in report.tree)
    table = _table("kept for the backward pass", *(["of one"] if folded else []))
    for row in report.tree:
        times = f" ×{row.repeat}" if "-" in row.name else ""
        label = "  " * (row.level - 1) + row.name + times
        each = [show_bytes(row.each) if row.repeat > 1 else ""] if folded else []
        cells = (label, show_bytes(row.count), *each, row.formula)
        add_row(table, cells, style="" if row.leaf else "bold")
    table.add_section()
    add_row(table, ("all", show_bytes(report.kept)), style="bold")
    return table


def _held(report: MemoryReport) -> Table:
    table = _table("held at the peak")
    for kind, held in groupby(report.held, key=lambda held: held.kind):
        parts = list(held)
        alone = "" if parts[0].path else parts[0].formula
        add_row(table, (kind, show_bytes(report.peak.by_kind[kind]), alone))
        for part in parts:
            if part.path:
                add_row(table, (f"  {part.path}", show_bytes(part.bytes), part.formula))
    table.add_section()
    add_row(table, ("peak", show_bytes(report.peak.bytes)), style="bold")
    return table


def _table(what: str, *columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(what, overflow="fold")
    for name in ("memory", *columns):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("bytes, by formula", overflow="fold")
    return table
