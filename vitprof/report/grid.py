"""Names and what they stand for, below a table on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text


def grid(lines: Mapping[str, str]) -> Table:
    """A line a name; its text wraps, and a word in brackets is a word, not markup."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, Text(text))
    return table
