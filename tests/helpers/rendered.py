"""Cells of a report as the formats render them, and back."""

from __future__ import annotations

import re

from vitprof.report.document import Axes, Cell, Kind, Label, Marked, Table
from vitprof.report.document import Row as TableRow
from vitprof.values.size import Size


def words_of(cell: Cell, kind: Kind) -> str:
    """Return a cell as plain text."""
    if isinstance(cell, Marked):
        return words_of(cell.cell, kind)
    if isinstance(cell, Label):
        return cell.path
    if isinstance(cell, Axes):
        return cell.numbers if kind is Kind.NUMBERS else cell.formula
    if isinstance(cell, Size):
        closed = cell.name or cell.operator
        return (cell.numbers if kind is Kind.NUMBERS else cell.formula) if closed else ""
    return f"{cell:,}" if type(cell) in (int, float) else "" if cell is None else str(cell)


def label_of(cell: Cell, kind: Kind, indent: str = "  ") -> str:
    """Return a cell as plain text; a row's name is relative to its parent's, and indented."""
    if not isinstance(cell, Label):
        return words_of(cell, kind)
    folded = f" ×{cell.repeat}" if "-" in cell.name and cell.repeat > 1 else ""
    return f"{indent * cell.level}{cell.name}{folded}"


def rows_of(table: Table) -> list[TableRow]:
    return [*table.rows, *table.totals]


def unmarked(words: str) -> str:
    r"""Return Markdown as rendered: `\_` is an underscore, `**` nothing."""
    return re.sub(r"\\([\\`*\[\]<|_~$&#>+.)-])", r"\1", re.sub(r"(?<!\\)\*\*", "", words))


def with_separators(words: str) -> str:
    return re.sub(r"\d+", lambda number: f"{int(number[0]):,}", words)
