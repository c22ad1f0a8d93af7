"""The formats of a report, and the file names that ask for them."""

from __future__ import annotations

from enum import StrEnum
from io import StringIO
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

from vitprof.errors import SpecError, listing, unknown

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


class Format(StrEnum):
    """A way to write a report down."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"

    @property
    def for_people(self) -> bool:
        """Whether a person reads it, who is helped by equal blocks in one row."""
        return self in (Format.TABLE, Format.MARKDOWN)


_SUFFIXES = {
    ".txt": Format.TABLE,
    ".csv": Format.CSV,
    ".json": Format.JSON,
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
}
_FILE_WIDTH = 160


def find_format(name: str | None, file: str | None) -> Format:
    """The format of this name, else the one that the file's suffix asks for, else a table.

    Raises:
        SpecError: there is no such format, or the suffix stands for none.
    """
    if name is not None:
        if name not in tuple(Format):
            raise unknown("format", name, Format)
        return Format(name)
    if file is None:
        return Format.TABLE
    suffix = PurePath(file).suffix.lower()
    if suffix not in _SUFFIXES:
        raise SpecError(
            f"the file name {file!r} does not say which format; end it in "
            f"{listing(_SUFFIXES)}, or give --format"
        )
    return _SUFFIXES[suffix]


class Shown(Protocol):
    """What people can read."""

    def to_markdown(self) -> str:
        """As Markdown."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As a table for a terminal."""


class Document(Shown, Protocol):
    """What a command found out, in every format."""

    @property
    def complaint(self) -> str:
        """What of it does not hold, in a sentence; empty where all does."""

    def to_csv(self) -> str:
        """Its rows as CSV."""

    def to_json(self) -> str:
        """All of it as JSON."""


def render(document: Document, format: Format, *appendices: Shown) -> str:
    """The document as the text of a file; appendices are for people, data has them in it."""
    if format is Format.CSV:
        return document.to_csv()
    if format is Format.JSON:
        return document.to_json()
    if format is Format.MARKDOWN:
        return "\n".join(part.to_markdown() for part in (document, *appendices))
    from rich.console import Console

    text = StringIO()
    console = Console(file=text, width=_FILE_WIDTH, color_system=None)
    console.print(document, *appendices, sep="\n")
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
