"""Write a document as HTML, for a notebook or for a part of a page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from vitprof.formats import expressions
from vitprof.formats.cells import text
from vitprof.formats.charts import drawn
from vitprof.report.base import Report
from vitprof.report.document import (
    Cell,
    Column,
    Element,
    Equations,
    Facts,
    Heading,
    Kind,
    Label,
    Marked,
    Row,
    Sentence,
    Table,
)
from vitprof.values.size import Size

_RIGHT, _LEFT = "text-align: right", "text-align: left"


def render_html(report: Report) -> str:
    """Return the document as one `div`."""
    parts = "\n".join(part for element in report.document() for part in _parts(element))
    return f'<div class="vitprof">\n{parts}\n</div>\n'


def _parts(element: Element) -> Iterator[str]:
    if isinstance(element, Heading):
        remark = f" {escape(element.remark)}" if element.remark else ""
        yield f"<p><b>{escape(element.text)}</b>{remark}</p>"
    elif isinstance(element, Table):
        yield _table(element)
    elif isinstance(element, Facts):
        for name, line in element.lines.items():
            yield f"<p><b>{escape(name)}</b>: {escape(line)}</p>"
    elif isinstance(element, Sentence):
        words = escape(element.text)
        yield f"<p><b>{words}</b></p>" if element.strong else f"<p>{words}</p>"
    elif isinstance(element, Equations):
        yield f"<pre>{escape(element.text)}</pre>"
    else:
        yield from (f"<pre>{escape(chart)}</pre>" for chart in drawn(element))


def _table(table: Table) -> str:
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    heads = "".join(
        f'<th style="{_side(column)}">{escape(column.title)}</th>' for column in table.columns
    )
    rows = "\n".join(_row(table, row) for row in (*table.rows, *table.totals))
    return f"<table>{caption}\n<tr>{heads}</tr>\n{rows}\n</table>"


def _row(table: Table, row: Row) -> str:
    cells = []
    for cell, column in zip(row.cells, table.columns, strict=True):
        words = _cell(cell, column)
        strong = words and (row.strong or isinstance(cell, Marked))
        cells.append(f'<td style="{_side(column)}">{f"<b>{words}</b>" if strong else words}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _side(column: Column) -> str:
    return _RIGHT if column.kind is Kind.NUMBER else _LEFT


def _cell(cell: Cell, column: Column) -> str:
    if isinstance(cell, Size) and text(cell, column):
        return expressions.html(cell, numbers=column.kind is Kind.NUMBERS)
    if isinstance(cell, Label):
        times = f" ×{cell.repeat}" if cell.folded else ""
        return "&#8195;" * cell.level + escape(cell.name) + times
    return escape(text(cell, column))
