"""What a report says, once for all formats: headings, tables, facts, sentences, equations.

A cell is plain data; how it is written is each format's own affair: an int with separators or
without, a `Size` as a formula in text, in LaTeX, in HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from vitprof.report.curves import Curves
from vitprof.values.amounts import Amount
from vitprof.values.size import Size

Scalar = str | int | float | Amount | Size | None


class Kind(Enum):
    """What a column holds, which says how it is aligned and whether it may be broken."""

    NAME = "name"  # left, never broken
    TEXT = "text"  # left, broken between words
    NUMBER = "number"  # right, never broken
    FORMULA = "formula"  # sizes by name, broken between words
    NUMBERS = "numbers"  # the same sizes with numbers put in


EVERY = -1  # part of a key that begins all parts


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: what heads it.
        kind: what it holds.
        part: columns of one part stay together if the table is too wide for its place.
        key: begins its part, or all of them, anew in each table that it is shown in.
        faint: beside the point.
    """

    title: str
    kind: Kind = Kind.NAME
    part: int = 0
    key: bool = False
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """The name of a row that lies within others.

    Attributes:
        name: what it is called below its parent.
        path: what it is called by itself.
        level: how deep it lies, from 0.
        repeat: how many equal ones it stands for.
    """

    name: str
    path: str
    level: int = 0
    repeat: int = 1

    @property
    def folded(self) -> bool:
        """If its name, such as `blocks.0-11`, says that it stands for several."""
        return self.repeat > 1 and "-" in self.name


@dataclass(frozen=True, slots=True)
class Marked:
    """A cell that a reader is to notice: it is not what the others are."""

    cell: Scalar


Cell = Scalar | Label | Marked


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        cells: one a column.
        strong: it sums others, or is what matters.
        alarm: it says that something is wrong.
    """

    cells: tuple[Cell, ...]
    strong: bool = False
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        columns: with what heads them.
        rows: of cells.
        totals: rows that stand apart below.
        title: a line above it; empty for none.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    totals: tuple[Row, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading, with a remark behind it."""

    text: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Named lines, such as the conditions that figures depend on."""

    lines: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence.

    Attributes:
        text: it.
        strong: it is what matters.
        alarm: it says that something is wrong.
        faint: beside the point.
    """

    text: str
    strong: bool = False
    alarm: bool = False
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Equations:
    """Paragraphs of prose, and of equations with their line breaks."""

    text: str


@dataclass(frozen=True, slots=True)
class Charts:
    """The curves of a sweep, a chart of characters a measure."""

    curves: Curves


Element = Heading | Table | Facts | Sentence | Equations | Charts
Document = tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Records:
    """Rows for programs: exact numbers, no layout.

    Attributes:
        columns: their names.
        rows: one value a column; None where there is none.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | bool | None, ...], ...] = field(default=())
