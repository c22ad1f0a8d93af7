"""What tables on a terminal share: their rows, and the facts below them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.table import Table
from rich.text import Text


def grid(lines: Mapping[str, str]) -> Table:
    """A line a name; its text wraps, and a word in brackets is a word, not markup."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        add_row(table, (name, text))
    return table


def add_row(table: Table, cells: Iterable[str | Text], style: str = "") -> None:
    """Add a row; a word in brackets is a word, not markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), style=style)
