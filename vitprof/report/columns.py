"""Columns that a user chooses, in the order in which they are named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vitprof.errors import SpecError, listing, unknown
from vitprof.report.document import Cell, Column, Records, Row, Table
from vitprof.values.options import Plain

Item = TypeVar("Item", contravariant=True)


@dataclass(frozen=True, slots=True)
class Field(Generic[Item]):
    """A column of a table, with its cell for each of the items that are listed.

    Attributes:
        column: header and kind of content.
        cell: returns what people see of an item.
        record: name of the column for programs.
        value: returns what programs get of an item.
    """

    column: Column
    cell: Callable[[Item], Cell]
    record: str
    value: Callable[[Item], Plain | None]


Fields = Mapping[str, Field[Item]]


def read_columns(names: Iterable[str] | None, known: Collection[str]) -> tuple[str, ...]:
    """Return the names of the chosen columns; none if the usual ones are to be shown.

    Raises:
        SpecError: a name is unknown or given twice, or none is given.
    """
    if names is None:
        return ()
    chosen = [name.strip().replace("_", "-") for name in names]
    for name in chosen:
        if name not in known:
            raise unknown("column", name, known)
    twice = [name for name in dict.fromkeys(chosen) if chosen.count(name) > 1]
    if twice:
        raise SpecError(f"the column {listing(twice, 'and')} is named twice; name it once")
    if not chosen:
        raise SpecError(f"there are no columns to show; name some of {listing(known, 'and')}")
    return tuple(chosen)


def table(
    fields: Fields[Item],
    names: Sequence[str],
    items: Iterable[Item],
    totals: Iterable[tuple[Mapping[str, Cell], bool]],
    strong: Callable[[Item], bool] = lambda item: False,
) -> Table:
    """Return the table of the chosen columns.

    Args:
        fields: all columns by name; the first names the rows.
        names: names of the chosen columns.
        items: what is listed, a row each.
        totals: cells of the rows below a line, by column, and True if they are in bold. Those of
            which only the name is in a chosen column are left out, and those without a name
            unless they are in bold.
        strong: returns True if a row is in bold.
    """
    own, (key, *_) = [fields[name] for name in names], fields
    rows = (Row(tuple(one.cell(item) for one in own), strong(item)) for item in items)
    below = (
        Row(tuple(map(cells.get, names)), bold)
        for cells, bold in totals
        if (bold or key in names)
        and any(cells.get(name) is not None for name in names if name != key)
    )
    return Table(tuple(one.column for one in own), tuple(rows), tuple(below))


def records(fields: Fields[Item], names: Sequence[str], items: Iterable[Item]) -> Records:
    """Return the chosen columns for programs, a row per item."""
    own = [fields[name] for name in names]
    rows = (tuple(one.value(item) for one in own) for item in items)
    return Records(tuple(one.record for one in own), tuple(rows))


def number(column: Column, record: str, value: Callable[[Item], int]) -> Field[Item]:
    """Return a column of integers, which people and programs get alike."""
    return Field(column, value, record, value)
