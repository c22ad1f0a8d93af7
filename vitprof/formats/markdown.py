"""Write a document as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tabulate import tabulate

from vitprof.formats.cells import text
from vitprof.formats.charts import drawn
from vitprof.report.base import Report
from vitprof.report.document import (
    Element,
    Equations,
    Facts,
    Heading,
    Kind,
    Marked,
    Row,
    Sentence,
    Table,
)

_SIGNS = re.compile(r"[\\`*\[\]<|]|(?<!\w)_|_(?!\w)")


def render_markdown(report: Report) -> str:
    """Return the document as Markdown, with an empty line between its parts."""
    parts = [part for element in report.document() for part in _parts(element)]
    return "\n\n".join(parts) + "\n"


def _parts(element: Element) -> Iterator[str]:
    if isinstance(element, Heading):
        remark = f" {_escape(element.remark)}" if element.remark else ""
        yield f"**{_escape(element.text)}**{remark}"
    elif isinstance(element, Table):
        if element.title:
            yield _escape(element.title)
        yield _table(element)
    elif isinstance(element, Facts):
        yield "\n".join(f"- {_escape(n)}: {_escape(t)}" for n, t in element.lines.items())
    elif isinstance(element, Sentence):
        yield f"**{_escape(element.text)}**" if element.strong else _escape(element.text)
    elif isinstance(element, Equations):
        yield f"```text\n{element.text}\n```"
    else:
        yield from (f"```text\n{chart}```" for chart in drawn(element))


def _table(table: Table) -> str:
    align = ["right" if column.kind is Kind.NUMBER else "left" for column in table.columns]
    header = [_escape(column.title) for column in table.columns]
    rows = [_cells(table, row) for row in (*table.rows, *table.totals)]
    return tabulate(rows, header, tablefmt="pipe", colalign=align, disable_numparse=True)


def _cells(table: Table, row: Row) -> list[str]:
    cells = []
    for cell, column in zip(row.cells, table.columns, strict=True):
        words = _escape(text(cell, column))
        strong = words and (row.strong or isinstance(cell, Marked))
        cells.append(f"**{words}**" if strong else words)
    return cells


def _escape(words: str) -> str:
    """Escape text so that Markdown shows it unchanged."""
    return _SIGNS.sub(r"\\\g<0>", words).replace("\n", " ")
