"""The formats of a report, and the file names that ask for them."""

from __future__ import annotations

from enum import StrEnum
from io import StringIO
from pathlib import PurePath

from vitprof.errors import SpecError, listing, unknown
from vitprof.report.report import Report
from vitprof.report.to_csv import to_csv
from vitprof.report.to_json import to_json


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


def render(report: Report, format: Format, *, with_why: bool = False) -> str:
    """The report as the text of a file, for people with every cause if asked for."""
    if format is Format.CSV:
        return to_csv(report)
    if format is Format.JSON:
        return to_json(report)
    if format is Format.MARKDOWN:
        from vitprof.report.to_markup import to_markdown

        return to_markdown(report, with_why=with_why)
    from rich.console import Console

    text = StringIO()
    console = Console(file=text, width=_FILE_WIDTH, color_system=None)
    console.print(report)
    if with_why:
        console.print("", report.why())
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
