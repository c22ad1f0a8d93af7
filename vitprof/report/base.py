"""Base class of all reports: a document for people, records and data for programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from vitprof.report.document import Document, Records, without_conditions
from vitprof.report.units import UNITS, in_units

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions, RenderResult

SCHEMA = "vitprof/2"


class Report(ABC):
    """Result of a command, as plain data.

    A report does not depend on the formats: `vitprof.formats` sets `render`, `show` and `frame`.

    Attributes:
        command: name of the command that makes this report.
    """

    command: str
    render: ClassVar[Callable[[Report, str], str]]
    text: ClassVar[Callable[[Report], str]]
    show: ClassVar[Callable[[Report, Console, ConsoleOptions], RenderResult]]
    frame: ClassVar[Callable[[Report], DataFrame]]
    figure: ClassVar[Callable[..., bytes]]

    @property
    def complaint(self) -> str:
        """Sentence on what does not hold; empty if everything holds."""
        return ""

    @abstractmethod
    def document(self) -> Document:
        """Return the headings, tables and sentences for people."""

    @abstractmethod
    def records(self) -> Records:
        """Return the rows for programs, as in CSV."""

    @abstractmethod
    def data(self) -> dict[str, object]:
        """Return the whole report for programs, in types that JSON supports."""

    def brief(self) -> Report:
        """Return a report with the same figures that shows people no conditions.

        Its document leaves out the lines on sizes, settings, versions and convention, and keeps
        verdicts and warnings. What programs read is the same.
        """
        return Brief(self.command, self)

    def in_units(self, unit: str) -> Report:
        """Return a report with the same figures that shows people counts in a unit.

        What programs read is the same, and exact.

        Args:
            unit: `K`, `M`, `G` or `T`, for thousands, millions, ...; `auto` for that of each
                measure that leaves its largest count in a table digits before the point.

        Raises:
            SpecError: there is no such unit.
        """
        return InUnits(self.command, self, UNITS.read("units", unit))

    def to_csv(self) -> str:
        """Return the rows as CSV: a header, one line per row, exact numbers."""
        return self.render("csv")

    def to_json(self) -> str:
        """Return the whole report as JSON."""
        return self.render("json")

    def to_markdown(self) -> str:
        """Return the document as Markdown."""
        return self.render("markdown")

    def to_latex(self) -> str:
        """Return the document as LaTeX, with tables that need booktabs."""
        return self.render("latex")

    def to_html(self) -> str:
        """Return the document as HTML."""
        return self.render("html")

    def to_frame(self) -> DataFrame:
        """Return the rows as a pandas DataFrame, equal to the CSV."""
        return self.frame()

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.render("html")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        return self.show(console, options)


@dataclass(frozen=True, slots=True)
class Shown(Report):
    """A report that shows people another document, and programs the same figures.

    Attributes:
        command: name of the command that makes this report.
        whole: the report as it was made.
    """

    command: str
    whole: Report

    @property
    def complaint(self) -> str:
        return self.whole.complaint

    def records(self) -> Records:
        return self.whole.records()

    def data(self) -> dict[str, object]:
        return self.whole.data()


@dataclass(frozen=True, slots=True)
class Brief(Shown):
    """A report whose document leaves out the conditions of the figures."""

    def document(self) -> Document:
        return without_conditions(self.whole.document())


@dataclass(frozen=True, slots=True)
class InUnits(Shown):
    """A report whose document has its counts in a unit.

    Attributes:
        unit: the unit.
    """

    unit: str

    def document(self) -> Document:
        return in_units(self.whole.document(), self.unit)
