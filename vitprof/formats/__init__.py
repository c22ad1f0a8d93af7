"""Output formats by name, one file each.

Reports do not depend on the formats: this module sets the renderers of `Report`.
"""

from __future__ import annotations

import os
import re
import sys
from enum import StrEnum
from importlib import import_module
from pathlib import PurePath
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from vitprof.errors import SpecError, listing, unknown
from vitprof.report.base import Report
from vitprof.text import quoted

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions, RenderResult


class Format(StrEnum):
    """Output format of a report."""

    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    HTML = "html"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    JUNIT = "junit"

    @property
    def for_people(self) -> bool:
        """True if people read it; equal blocks are then folded into one row by default."""
        return self in (Format.TABLE, Format.MARKDOWN, Format.LATEX, Format.HTML)


_SUFFIXES = {
    ".txt": Format.TABLE,
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".tex": Format.LATEX,
    ".html": Format.HTML,
    ".csv": Format.CSV,
    ".json": Format.JSON,
    ".parquet": Format.PARQUET,
    ".xml": Format.JUNIT,
}
_RENDERERS = {
    Format.TABLE: "table:render_table",
    Format.MARKDOWN: "markdown:render_markdown",
    Format.LATEX: "latex:render_latex",
    Format.HTML: "html:render_html",
    Format.CSV: "csv:render_csv",
    Format.JSON: "json:render_json",
    Format.PARQUET: "parquet:render_parquet",
    Format.JUNIT: "junit:render_junit",
}
LEAST_COLUMNS, _MOST_COLUMNS = 30, 10_000
ANY = tuple(one for one in Format if one is not Format.JUNIT)  # formats of every command


def find_format(name: str | None, file: str | None, known: tuple[Format, ...] = ANY) -> Format:
    """Return the named format, else that of the file's suffix, else `table`.

    Args:
        name: name of a format; None to use the suffix.
        file: name of the output file; None for the terminal.
        known: formats that the command supports.

    Raises:
        SpecError: the format or the suffix is unknown.
    """
    if name is not None:
        if name not in known:
            raise unknown("format", name, known)
        return Format(name)
    if file is None:
        return Format.TABLE
    suffix = PurePath(file).suffix.lower()
    suffixes = {ending: one for ending, one in _SUFFIXES.items() if one in known}
    if suffix not in suffixes:
        raise SpecError(
            f"the suffix of the file name {quoted(file)} is not that of a format; end it in "
            f"{listing(suffixes)}, or give --format"
        )
    return suffixes[suffix]


def render(report: Report, format: Format) -> str | bytes:
    """Return the content of a file with the report; bytes for Parquet, else text."""
    content: str | bytes = _load(_RENDERERS[format])(report)
    return content


def columns() -> int | None:
    """Return the width of the terminal; None, which is no limit, if stdout is not a terminal.

    The environment variable COLUMNS sets it in either case. No terminal is taken to be narrower
    than 30 characters.
    """
    given = given_columns()
    if given is None and sys.stdout.isatty():
        given = min(max(LEAST_COLUMNS, get_terminal_size().columns), _MOST_COLUMNS)
    return given


def given_columns() -> int | None:
    """Return the width in the environment variable COLUMNS; None if it holds none."""
    given = os.environ.get("COLUMNS", "")
    if not re.fullmatch("[0-9]{1,9}", given, re.ASCII) or not int(given):
        return None
    return min(max(LEAST_COLUMNS, int(given)), _MOST_COLUMNS)


def plain(report: Report, width: int | None) -> str:
    """Return the report as plain text of `width` characters, or of no limit if that is None.

    A line is longer if it would else cut a figure.
    """
    text: str = _load("table:plain")(report, width)
    return text


def show_on_terminal(report: Report, width: int) -> None:
    """Print the report to a terminal of `width` characters, in its colours."""
    _load("table:show_on_terminal")(report, width)


def _load(reference: str) -> Any:
    """Import a function, given as `module:name`, of this package when it is needed."""
    module, _, name = reference.partition(":")
    return getattr(import_module(f"vitprof.formats.{module}"), name)


def _render(report: Report, format: str) -> str:
    content = render(report, Format(format))
    assert isinstance(content, str)
    return content


def _show(report: Report, console: Console, options: ConsoleOptions) -> RenderResult:
    shown: RenderResult = _load("table:show")(report, console, options)
    return shown


def _frame(report: Report) -> DataFrame:
    frame: DataFrame = _load("frame:render_frame")(report)
    return frame


def _figure(report: Report, format: str, **settings: Any) -> bytes:
    content: bytes = _load("drawing.plot:figure")(report, format, **settings)
    return content


def _text(report: Report) -> str:
    return plain(report, columns()).rstrip("\n")


Report.render, Report.text, Report.show, Report.frame = _render, _text, _show, _frame
Report.figure = _figure
