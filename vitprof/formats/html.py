"""Write a document as HTML, for a notebook or for a part of a page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from vitprof.formats import expressions
from vitprof.formats.charts import drawn
from vitprof.formats.markup import Markup
from vitprof.report.base import Report
from vitprof.report.document import Axes, Charts, Column, Derivation, Kind, Label, Row, Table
from vitprof.values.size import Size

_RIGHT, _LEFT = "text-align: right", "text-align: left"


def render_html(report: Report) -> str:
    """Return the document as one `div`."""
    parts = "\n".join(_Html().parts(report))
    return f'<div class="vitprof">\n{parts}\n</div>\n'


class _Html(Markup):
    def escape(self, words: str) -> str:
        return escape(words)

    def strong(self, words: str) -> str:
        return f"<b>{words}</b>"

    def heading(self, words: str, remark: str) -> str:
        return f"<p>{f'<b>{words}</b> {remark}'.rstrip()}</p>"

    def section(self, words: str, remark: str, level: int) -> str:
        return f"<h{level}>{f'{words} {remark}'.rstrip()}</h{level}>"

    def derivation(self, derivation: Derivation) -> Iterator[str]:
        yield from self.where(derivation)
        for step in derivation.steps:
            equation = f"{escape(derivation.of)} = {expressions.HTML.equation(step.size)}"
            yield f"<p>{self.step(step)}<br/>\n&#8195;{equation}</p>"

    def defined(self, names: tuple[Size, ...]) -> list[str]:
        return [*map(expressions.HTML.defined, names)]

    def paragraph(self, words: str) -> str:
        return f"<p>{words}</p>"

    def preformatted(self, words: str) -> str:
        return f"<pre>{escape(words)}</pre>"

    def table(self, table: Table) -> Iterator[str]:
        caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
        heads = "".join(
            f'<th style="{_side(column)}">{escape(column.title)}</th>' for column in table.columns
        )
        rows = "\n".join(self._row(table, row) for row in (*table.rows, *table.totals))
        yield f"<table>{caption}\n<tr>{heads}</tr>\n{rows}\n</table>"

    def _row(self, table: Table, row: Row) -> str:
        cells = [
            f'<td style="{_side(column)}">{words}</td>'
            for words, column in zip(self.row(table, row), table.columns, strict=True)
        ]
        return f"<tr>{''.join(cells)}</tr>"

    def facts(self, lines: list[tuple[str, str]]) -> Iterator[str]:
        for name, line in lines:
            yield f"<p><b>{name}</b>: {line}</p>"

    def formula(self, size: Size, *, numbers: bool) -> str:
        return expressions.html(size, numbers=numbers)

    def shapes(self, axes: Axes, *, numbers: bool) -> str:
        return ", ".join(expressions.HTML.shape(shape, numbers=numbers) for shape in axes.shapes)

    def label(self, label: Label) -> str:
        times = f" ×{label.repeat}" if label.folded else ""
        return "&#8195;" * label.level + escape(label.name) + times

    def charts(self, charts: Charts) -> Iterator[str]:
        return map(self.preformatted, drawn(charts))


def _side(column: Column) -> str:
    return _RIGHT if column.kind is Kind.NUMBER else _LEFT
