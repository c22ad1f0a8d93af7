"""Elements of a document that all formats share: headings, tables, facts, derivations, ...

A cell is plain data, and each format decides how to write it: an int with or without
separators, a `Size` as a formula in text, LaTeX or HTML.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum

from vitprof.report.curves import Curves, Scales
from vitprof.values.amounts import Amount
from vitprof.values.numbers import listed
from vitprof.values.size import Size, across


@dataclass(frozen=True, slots=True)
class Axes:
    """Shapes of one or several tensors.

    Attributes:
        shapes: axes of each tensor.
    """

    shapes: tuple[tuple[Size, ...], ...]

    @property
    def formula(self) -> str:
        """Axes by name, `B × heads × N × k, B × heads × k × N`; a scalar has the shape 1."""
        return ", ".join(map(across, self.shapes))

    @property
    def numbers(self) -> str:
        """Axes by number: `2 × 4 × 50 × 16, 2 × 4 × 16 × 50`."""
        shapes = (tuple(Size(axis.value) for axis in shape) for shape in self.shapes)
        return ", ".join(map(across, shapes))


Scalar = str | int | float | Amount | Size | Axes | None


class Kind(Enum):
    """Content of a column, which determines its alignment and line breaks."""

    NAME = "name"  # left, never wrapped
    TEXT = "text"  # left, wrapped between words
    NUMBER = "number"  # right, never wrapped
    FORMULA = "formula"  # sizes with names, wrapped between words
    NUMBERS = "numbers"  # sizes with numbers, wrapped between words


EVERY = -1  # part of a key column that is repeated in every part


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: header of the column.
        kind: kind of its content.
        part: columns of one part stay together if a wide table is split.
        key: repeat the column at the start of each table that a split makes of its part.
        faint: show the column dimmed.
        counts: measure that its integers count, such as `macs`; columns of the same measure have
            the same unit. Empty for what has a unit of its own.
    """

    title: str
    kind: Kind = Kind.NAME
    part: int = 0
    key: bool = False
    faint: bool = False
    counts: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """Name of a row in a tree of rows.

    Attributes:
        name: name below its parent.
        path: full name.
        level: depth in the tree, from 0.
        repeat: number of equal rows that it represents.
    """

    name: str
    path: str
    level: int = 0
    repeat: int = 1

    @property
    def folded(self) -> bool:
        """True if it represents several rows and its own name shows that, such as `0-11`."""
        return self.repeat > 1 and any(
            not part.isdigit() and listed(part) is not None for part in self.name.split(".")
        )


@dataclass(frozen=True, slots=True)
class Marked:
    """A highlighted cell, since its value differs from the expected one."""

    cell: Scalar


Cell = Scalar | Label | Marked


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        cells: one per column.
        strong: show the row in bold.
        alarm: show the row as an error.
    """

    cells: tuple[Cell, ...]
    strong: bool = False
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a header.

    Attributes:
        columns: columns with their titles.
        rows: rows of cells.
        totals: rows below a line at the end.
        title: line above the table; empty for none.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    totals: tuple[Row, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading, followed by a remark.

    Attributes:
        text: the heading.
        remark: text behind it.
        level: 1 for the title of a document, 2 for a section, 3 for a part of one; 0 for a line
            above a single table or list.
    """

    text: str
    remark: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Named lines of text, such as verdicts and the conditions of the figures.

    Attributes:
        lines: text of each line by its name.
        conditions: names of those that say under which conditions the figures hold, and leave
            their reading as it is: sizes, settings, versions, convention.
    """

    lines: Mapping[str, str]
    conditions: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Sentence:
    """A line of text.

    Attributes:
        text: the text.
        strong: show it in bold.
        alarm: show it as an error.
        faint: show it dimmed.
    """

    text: str
    strong: bool = False
    alarm: bool = False
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Equations:
    """Paragraphs of prose and of equations; equations keep their line breaks."""

    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a derivation: a formula, the numbers put in, and the value.

    Attributes:
        name: what it counts, such as the path of a layer; not empty.
        words: what that is; empty if the name says it.
        size: the count, with its formula.
        where: names in the formula that are this step's own, each with its definition.
        strong: True for a sum of other steps.
    """

    name: str
    words: str
    size: Size
    where: tuple[Size, ...] = ()
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Derivation:
    """Steps of arithmetic, each as an equation, `MACs = B × in × out = 2 × 64 × 10 = 1,280`.

    Attributes:
        of: what each step counts, the left side of its equation: `MACs`.
        steps: the steps.
        where: names in the formulas of all steps, each with its definition.
    """

    of: str
    steps: tuple[Step, ...]
    where: tuple[Size, ...] = ()


@dataclass(frozen=True, slots=True)
class Charts:
    """The curves of a sweep, drawn as one text chart per measure.

    Attributes:
        curves: curves and points.
        scales: scales of the axes.
    """

    curves: Curves
    scales: Scales


Element = Heading | Table | Facts | Sentence | Equations | Derivation | Charts
Document = tuple[Element, ...]


def without_conditions(document: Document) -> Document:
    """Return a document without the lines that say under which conditions its figures hold.

    A section that has nothing else is left out with its heading.
    """
    kept: list[Element] = []
    for element in document:
        shown = _without_conditions(element)
        if shown is not None:
            kept.append(shown)
        elif kept and isinstance(kept[-1], Heading) and kept[-1].level > 1:
            kept.pop()
    return tuple(kept)


def _without_conditions(element: Element) -> Element | None:
    if not isinstance(element, Facts) or not element.conditions:
        return element
    lines = {name: line for name, line in element.lines.items() if name not in element.conditions}
    return Facts(lines) if lines else None


@dataclass(frozen=True, slots=True)
class Records:
    """Rows for programs, with exact numbers and without layout.

    Attributes:
        columns: names of the columns.
        rows: one value per column; None if there is no value.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | bool | None, ...], ...] = field(default=())
