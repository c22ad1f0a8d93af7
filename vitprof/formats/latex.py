"""Write a document as LaTeX: tables with booktabs, formulas in math mode."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vitprof.formats import expressions
from vitprof.formats.cells import text
from vitprof.report.base import Report
from vitprof.report.document import (
    Cell,
    Charts,
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

_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"×": r"$\times$", "−": "$-$", "√": r"$\sqrt{}$", "≥": r"$\geq$", "²": "$^2$", "³": "$^3$"},
    **{"⌈": r"$\lceil$", "⌉": r"$\rceil$", "⌊": r"$\lfloor$", "⌋": r"$\rfloor$", "µ": r"$\mu$"},
    **{"\n": " ", "<": "$<$", ">": "$>$", "|": "$|$", "φ": r"$\varphi$"},
}


def render_latex(report: Report) -> str:
    """Return the document as a fragment of LaTeX that needs booktabs."""
    parts = [part for element in report.document() for part in _parts(element)]
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(parts) + "\n"


def _parts(element: Element) -> Iterator[str]:
    if isinstance(element, Heading):
        remark = f" {escape(element.remark)}" if element.remark else ""
        yield rf"\paragraph{{{escape(element.text)}}}{remark}"
    elif isinstance(element, Table):
        if element.title:
            yield escape(element.title)
        yield _table(element)
    elif isinstance(element, Facts):
        items = [rf"  \item[{{{escape(n)}}}] {escape(t)}" for n, t in element.lines.items()]
        if items:
            yield "\n".join([r"\begin{description}", *items, r"\end{description}"])
    elif isinstance(element, Sentence):
        yield rf"\textbf{{{escape(element.text)}}}" if element.strong else escape(element.text)
    elif isinstance(element, Equations):
        yield "\n".join([r"\begin{verbatim}", element.text, r"\end{verbatim}"])
    else:
        assert isinstance(element, Charts)  # text charts are left out


def _table(table: Table) -> str:
    align = "".join("r" if column.kind is Kind.NUMBER else "l" for column in table.columns)
    lines = [rf"\begin{{tabular}}{{{align}}}", r"\toprule"]
    lines.append(_line([escape(column.title) for column in table.columns]))
    lines.append(r"\midrule")
    lines += [_line(_cells(table, row)) for row in table.rows]
    if table.totals:
        lines.append(r"\midrule")
        lines += [_line(_cells(table, row)) for row in table.totals]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _line(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _cells(table: Table, row: Row) -> list[str]:
    cells = []
    for cell, column in zip(row.cells, table.columns, strict=True):
        words = _cell(cell, column)
        strong = words and (row.strong or isinstance(cell, Marked))
        cells.append(rf"\textbf{{{words}}}" if strong else words)
    return cells


def _cell(cell: Cell, column: Column) -> str:
    if isinstance(cell, Size) and text(cell, column):
        return f"${expressions.latex(cell, numbers=column.kind is Kind.NUMBERS)}$"
    if isinstance(cell, Label):
        times = rf" $\times${cell.repeat}" if cell.folded else ""
        return rf"{chr(92)}quad " * cell.level + escape(cell.name) + times
    return escape(text(cell, column))


def escape(words: str) -> str:
    """Escape text so that LaTeX prints it unchanged."""
    printed = "".join(_SIGNS.get(sign, sign) for sign in words)
    return re.sub("-(?=-)", "-{}", printed)  # keeps LaTeX from joining hyphens to a dash
