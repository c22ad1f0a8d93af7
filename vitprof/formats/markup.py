"""Markup languages: the elements of a document, each written in the language's own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from vitprof.formats.cells import text
from vitprof.formats.visible import visible_document
from vitprof.report.base import Report
from vitprof.report.document import (
    Axes,
    Cell,
    Charts,
    Column,
    Derivation,
    Element,
    Equations,
    Facts,
    Heading,
    Kind,
    Label,
    Marked,
    Row,
    Sentence,
    Step,
    Table,
)
from vitprof.values.size import Size


class Markup(ABC):
    """A markup language, in which a document is written element by element."""

    def parts(self, report: Report) -> list[str]:
        """Return the elements of a report's document, each in the language."""
        return [part for element in visible_document(report) for part in self._written(element)]

    def _written(self, element: Element) -> Iterator[str]:
        if isinstance(element, Heading):
            text, remark = self.escape(element.text), self.escape(element.remark)
            yield (
                self.section(text, remark, element.level)
                if element.level
                else self.heading(text, remark)
            )
        elif isinstance(element, Table):
            yield from self.table(element)
        elif isinstance(element, Facts):
            lines = [(self.escape(name), self.escape(line)) for name, line in element.lines.items()]
            yield from self.facts(lines) if lines else ()
        elif isinstance(element, Sentence):
            yield self.paragraph(self._words(self.escape(element.text), strong=element.strong))
        elif isinstance(element, Equations):
            yield self.preformatted(element.text)
        elif isinstance(element, Derivation):
            yield from self.derivation(element)
        else:
            yield from self.charts(element)

    def step(self, step: Step) -> str:
        """Return the name of a step in bold, with its words and the names of its own."""
        words = ", ".join([*filter(None, [self.escape(step.words)]), *self.defined(step.where)])
        return self.strong(self.escape(step.name)) + (f": {words}" if words else "")

    def where(self, derivation: Derivation) -> Iterator[str]:
        """Yield a paragraph with the names of a derivation, if it has any of its own."""
        if derivation.where:
            yield self.paragraph(f"where {', '.join(self.defined(derivation.where))}")

    def row(self, table: Table, row: Row) -> list[str]:
        """Return the cells of a row; what a reader is to notice is strong."""
        return [
            self._words(self._cell(cell, column), strong=row.strong or isinstance(cell, Marked))
            for cell, column in zip(row.cells, table.columns, strict=True)
        ]

    def _cell(self, cell: Cell, column: Column) -> str:
        if isinstance(cell, Size) and text(cell, column):
            return self.formula(cell, numbers=column.kind is Kind.NUMBERS)
        if isinstance(cell, Axes) and cell.shapes:
            return self.shapes(cell, numbers=column.kind is Kind.NUMBERS)
        if isinstance(cell, Label):
            return self.label(cell)
        return self.escape(text(cell, column))

    def _words(self, words: str, *, strong: bool) -> str:
        return self.strong(words) if words and strong else words

    @abstractmethod
    def escape(self, words: str) -> str:
        """Return text such that it is shown unchanged."""

    @abstractmethod
    def strong(self, words: str) -> str:
        """Return escaped text in bold."""

    @abstractmethod
    def heading(self, words: str, remark: str) -> str:
        """Return escaped text as a heading, with a remark after it if that is not empty."""

    @abstractmethod
    def section(self, words: str, remark: str, level: int) -> str:
        """Return escaped text as the heading of a document, section or part, level 1, 2 or 3."""

    @abstractmethod
    def derivation(self, derivation: Derivation) -> Iterable[str]:
        """Return steps of arithmetic as equations."""

    @abstractmethod
    def paragraph(self, words: str) -> str:
        """Return escaped text as a paragraph."""

    @abstractmethod
    def preformatted(self, words: str) -> str:
        """Return text, not escaped, with its line breaks and blanks."""

    @abstractmethod
    def table(self, table: Table) -> Iterable[str]:
        """Return a table, with its title if it has one."""

    @abstractmethod
    def facts(self, lines: list[tuple[str, str]]) -> Iterable[str]:
        """Return named lines, whose names and texts are escaped."""

    @abstractmethod
    def formula(self, size: Size, *, numbers: bool) -> str:
        """Return a closed form with names, or with numbers."""

    @abstractmethod
    def shapes(self, axes: Axes, *, numbers: bool) -> str:
        """Return shapes of tensors with the names of their axes, or with numbers."""

    @abstractmethod
    def defined(self, names: tuple[Size, ...]) -> list[str]:
        """Return names with their definitions and values, as formulas within a sentence."""

    @abstractmethod
    def label(self, label: Label) -> str:
        """Return the name of a row that is inside others."""

    @abstractmethod
    def charts(self, charts: Charts) -> Iterable[str]:
        """Return the charts of a sweep; none if the language has figures of its own."""
