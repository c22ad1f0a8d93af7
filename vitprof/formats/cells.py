"""Cells as plain text for people."""

from __future__ import annotations

from vitprof.report.document import Axes, Cell, Column, Kind, Label, Marked
from vitprof.values.amounts import Amount
from vitprof.values.size import Size


def text(cell: Cell, column: Column) -> str:
    """Return a cell as text: counts with separators, sizes as formulas, None as an empty text."""
    if isinstance(cell, Marked):
        return text(cell.cell, column)
    if isinstance(cell, Label):
        return cell.path
    if isinstance(cell, Size):
        return spelled(cell, column.kind)
    if isinstance(cell, Axes):
        return cell.numbers if column.kind is Kind.NUMBERS else cell.formula
    if cell is None or isinstance(cell, (str, Amount)):
        return "" if cell is None else str(cell)
    return f"{cell:,}"


def spelled(size: Size, kind: Kind) -> str:
    """Return a size as a formula with names or numbers; empty if it is not a closed form."""
    if not size.is_closed_form:
        return ""
    return size.numbers if kind is Kind.NUMBERS else size.formula
