"""How a report is written down: the formats by name, a file each.

A report knows none of them. Here they are given to it.
"""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from vitprof.errors import SpecError, listing, unknown
from vitprof.report.base import Report

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions, RenderResult


class Format(StrEnum):
    """A way to write a report down."""

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
        """If a person reads it, who is helped by equal blocks in one row."""
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
ANY = tuple(one for one in Format if one is not Format.JUNIT)  # of every command


def find_format(name: str | None, file: str | None, known: tuple[Format, ...] = ANY) -> Format:
    """The format of this name, else the one that the file's suffix asks for, else a table.

    Args:
        name: of a format.
        file: name of a file.
        known: formats that the command has.

    Raises:
        SpecError: there is no such format, or the suffix stands for none.
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
            f"the file name {file!r} does not say which format; end it in "
            f"{listing(suffixes)}, or give --format"
        )
    return suffixes[suffix]


def render(report: Report, format: Format) -> str | bytes:
    """The report in a format, as the content of a file."""
    content: str | bytes = _load(_RENDERERS[format])(report)
    return content


def plain(report: Report, width: int | None) -> str:
    """The report as a table without colours, of so many columns; None for as many as it needs."""
    text: str = _load("table:plain")(report, width)
    return text


def _load(reference: str) -> Any:
    """A function of a renderer, each of which is imported when it is first used."""
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


Report.render, Report.show, Report.frame = _render, _show, _frame
