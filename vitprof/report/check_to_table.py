"""The outcomes of a check file as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from vitprof.report.check import Check, describe, show
from vitprof.report.grid import add_row


def check_to_table(check: Check) -> Iterator[RenderableType]:
    """What was expected of each model and what was found; then each failure in words."""
    for case in check.cases if check.listed else ():
        yield Text(case.name, style="bold")
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("expectation", overflow="fold")
        table.add_column("", no_wrap=True)
        for name in ("expected", "found"):
            table.add_column(name, justify="right", overflow="fold")
        table.add_column("", no_wrap=True)
        for outcome in case.outcomes:
            cells = (outcome.what, outcome.relation, show(outcome.expected), show(outcome.found))
            verdict = "ok" if outcome.holds else "FAILS"
            add_row(table, (*cells, verdict), style="" if outcome.holds else "bold red")
        yield table
        yield ""
    for case, outcome in check.failures:
        yield Text(f"{check.file}:{outcome.line or case.line}: {describe(outcome)}", style="red")
    yield Text(check.summary, style="bold")
