"""Counts in thousands, millions and more, with the unit in the header of their column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeGuard

from vitprof.report.document import Cell, Column, Document, Marked, Row, Table
from vitprof.values.amounts import Amount, Scaled
from vitprof.values.options import Choice

_AUTO, _FACTORS = "auto", {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UNITS = Choice(
    "unit of the counts in a table, which are rounded; auto is the one that fits each measure",
    (*_FACTORS, _AUTO),
)
_DECIMALS, _LEAST = 2, 1_000  # after the point; of the largest count without it: four digits


@dataclass(frozen=True, slots=True)
class _Scale:
    """Unit of a measure in a table, with the digits after the point."""

    unit: str
    decimals: int

    def column(self, column: Column) -> Column:
        return replace(column, title=f"{column.title} ({self.unit})")

    def cell(self, cell: Cell) -> Cell:
        if isinstance(cell, Marked):
            return Marked(self.count(cell.cell)) if _is_count(cell.cell) else cell
        return self.count(cell) if _is_count(cell) else cell

    def count(self, count: int) -> Scaled:
        return Scaled(count, _FACTORS[self.unit], self.decimals)


def in_units(document: Document, unit: str) -> Document:
    """Return a document whose tables have their counts in a unit.

    The counts of a measure in a table have two digits after the point, or as many more as give
    the largest of them four in all.

    Args:
        document: the document.
        unit: one of `UNITS`.

    Raises:
        SpecError: there is no such unit.
    """
    unit = UNITS.read("units", unit)
    return tuple(
        _scaled(element, unit) if isinstance(element, Table) else element for element in document
    )


def _scaled(table: Table, unit: str) -> Table:
    scales = dict(_scales(table, unit))
    own = [scales.get(column.counts) for column in table.columns]

    def scaled(row: Row) -> Row:
        pairs = zip(row.cells, own, strict=True)
        return replace(
            row, cells=tuple(scale.cell(cell) if scale else cell for cell, scale in pairs)
        )

    columns = zip(table.columns, own, strict=True)
    return replace(
        table,
        columns=tuple(scale.column(column) if scale else column for column, scale in columns),
        rows=tuple(map(scaled, table.rows)),
        totals=tuple(map(scaled, table.totals)),
    )


def _scales(table: Table, unit: str) -> Iterator[tuple[str, _Scale]]:
    """Yield each measure that is counted in a table, with its unit."""
    largest = defaultdict[str, int](int)
    for row in (*table.rows, *table.totals):
        for column, cell in zip(table.columns, row.cells, strict=True):
            count = cell.cell if isinstance(cell, Marked) else cell
            if column.counts and _is_count(count):
                largest[column.counts] = max(largest[column.counts], count)
    for measure, most in largest.items():
        fitting = [name for name, factor in _FACTORS.items() if factor <= most]
        name = unit if unit != _AUTO else fitting[-1] if fitting else ""
        if name:
            yield measure, _Scale(name, _decimals(most, _FACTORS[name]))


def _decimals(most: int, factor: int) -> int:
    decimals = _DECIMALS
    while 0 < most * 10**decimals < _LEAST * factor:
        decimals += 1
    return decimals


def _is_count(cell: Cell) -> TypeGuard[int]:
    return isinstance(cell, int) and not isinstance(cell, Amount)
