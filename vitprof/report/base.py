"""What every report is: a document for people, records and data for programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from vitprof.report.document import Document, Records

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions, RenderResult

SCHEMA = "vitprof/2"


class Report(ABC):
    """What a command found out, as plain data.

    It knows no format: `vitprof.formats` knows reports, and gives them the one function by
    which they show themselves.

    Attributes:
        command: name of the command that finds this out.
    """

    command: str
    render: ClassVar[Callable[[Report, str], str]]
    show: ClassVar[Callable[[Report, Console, ConsoleOptions], RenderResult]]
    frame: ClassVar[Callable[[Report], DataFrame]]

    @property
    def complaint(self) -> str:
        """What of it does not hold, in a sentence; empty where all does."""
        return ""

    @abstractmethod
    def document(self) -> Document:
        """What it says to people."""

    @abstractmethod
    def records(self) -> Records:
        """Its rows, for programs."""

    @abstractmethod
    def data(self) -> dict[str, object]:
        """All of it, for programs, as JSON can hold it."""

    def to_csv(self) -> str:
        """Its rows as CSV: one header, one line a row, exact numbers."""
        return self.render("csv")

    def to_json(self) -> str:
        """All of it as JSON."""
        return self.render("json")

    def to_markdown(self) -> str:
        """What it says as Markdown."""
        return self.render("markdown")

    def to_latex(self) -> str:
        """What it says as LaTeX, its tables by booktabs."""
        return self.render("latex")

    def to_html(self) -> str:
        """What it says as HTML."""
        return self.render("html")

    def to_frame(self) -> DataFrame:
        """Its rows as a pandas DataFrame, equal to what the CSV holds."""
        return self.frame()

    def __str__(self) -> str:
        return self.render("table")

    def _repr_html_(self) -> str:
        return self.render("html")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        return self.show(console, options)
