"""Rows of a report, a layer each, and the columns that they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vitprof.formulas.op import Shape
from vitprof.report.columns import Field, number
from vitprof.report.document import EVERY, Axes, Column, Kind, Label
from vitprof.values.options import label_of
from vitprof.values.size import Size

COUNTS, FORMULAS = range(2)  # parts of the table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One row of a report: a layer, or several equal ones.

    Attributes:
        path: path of the torch submodule, such as `blocks.0-11.norm1` for folded layers.
        name: name below its parent.
        level: depth below the model, from 1.
        type: class of the torch module.
        repeat: number of equal layers in the row.
        size: count of the first of them, with its formula.
        count: count of all of them.
        counters: count of each tool for all of them; None if the tool gives none.
        leaf: True if no row is below it; the counts of the leaves add up to the total.
        caller: class of the module that computes it; of a function, of the module that calls it.
        kind: kind of work of an op; empty for a layer with ops or layers below it.
        reads: shapes of the inputs of the first of them; empty if they are not known.
        out: shape of its output; None if it is not known, or nothing calls it.
        parts: counts that add up to `count`, by name.
        part_sizes: those of the first of them, with their formulas.
    """

    path: str
    name: str
    level: int
    type: str
    repeat: int
    size: Size
    count: int
    counters: Mapping[str, int | None]
    leaf: bool
    caller: str = ""
    kind: str = ""
    reads: tuple[Shape, ...] = ()
    out: Shape | None = None
    parts: Mapping[str, int] = field(default_factory=dict)
    part_sizes: Mapping[str, Size] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self._values() == other._values()

    def _values(self) -> tuple[object, ...]:
        """Return the values to compare; a Size itself is only equal to itself."""
        size = (self.formula, self.numbers, self.each)
        return (self.label, self.type, size, self.count, self.counters, self.leaf, self.parts)

    @property
    def each(self) -> int:
        """Count of one of the equal layers."""
        return self.size.value

    @property
    def formula(self) -> str:
        """Closed form with names; empty for a row that sums others."""
        return self.size.formula if self.size.is_closed_form else ""

    @property
    def numbers(self) -> str:
        """The formula with numbers instead of names."""
        return self.size.numbers if self.formula else ""

    @property
    def input(self) -> Axes:
        """Shapes of the inputs."""
        return Axes(self.reads)

    @property
    def output(self) -> Axes:
        """Shape of the output."""
        return Axes(() if self.out is None else (self.out,))

    @property
    def label(self) -> Label:
        """Cell that names the row in a table."""
        return Label(self.name, self.path, self.level - 1, self.repeat)


def children(rows: Sequence[Row], place: int) -> list[Row]:
    """Return the rows directly below the one at a place, of a tree with parents first."""
    level, found = rows[place].level, []
    for row in rows[place + 1 :]:
        if row.level <= level:
            break
        if row.level == level + 1:
            found.append(row)
    return found


def _column(title: str, kind: Kind, *, faint: bool = False) -> Column:
    return Column(title, kind, FORMULAS, faint=faint)


def _same(title: str, kind: Kind, value: Callable[[Row], str], *, faint: bool) -> Field[Row]:
    """Return a column of text, which people and programs get alike."""
    return Field(_column(title, kind, faint=faint), value, title, value)


def _shapes(name: str, of: Callable[[Row], Axes], *, numbers: bool) -> Field[Row]:
    """Return a column of the shapes of inputs or outputs."""
    if numbers:
        column = _column(f"{name}, numbers", Kind.NUMBERS, faint=True)
        return Field(column, of, f"{name}_numbers", lambda row: of(row).numbers)
    return Field(_column(name, Kind.FORMULA), of, name, lambda row: of(row).formula)


def _formula(name: str, kind: Kind, value: Callable[[Row], str]) -> Field[Row]:
    """Return a column of closed forms, with names or with numbers."""
    column = _column(name, kind, faint=kind is Kind.NUMBERS)
    return Field(column, lambda row: row.size, name, value)


def part_formula(name: str, title: str) -> Field[Row]:
    """Return the column of the closed forms of a part of the count."""

    def of(row: Row) -> Size:
        return row.part_sizes[name]

    def text(row: Row) -> str:
        return of(row).formula if of(row).is_closed_form else ""

    return Field(_column(f"{title}, formula", Kind.FORMULA), of, f"{name}_formula", text)


ROW_FIELDS: dict[str, Field[Row]] = {
    "layer": Field(
        Column("layer", part=EVERY, key=True), lambda row: row.label, "path", lambda row: row.path
    ),
    "type": _same("type", Kind.TEXT, lambda row: row.type, faint=True),
    "kind": _same("kind", Kind.TEXT, lambda row: label_of(row.kind), faint=True),
    "repeat": number(_column("repeat", Kind.NUMBER), "repeat", lambda row: row.repeat),
    "input": _shapes("input", lambda row: row.input, numbers=False),
    "input-numbers": _shapes("input", lambda row: row.input, numbers=True),
    "output": _shapes("output", lambda row: row.output, numbers=False),
    "output-numbers": _shapes("output", lambda row: row.output, numbers=True),
    "formula": _formula("formula", Kind.FORMULA, lambda row: row.formula),
    "numbers": _formula("numbers", Kind.NUMBERS, lambda row: row.numbers),
}
