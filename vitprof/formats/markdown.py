"""Write a document as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tabulate import tabulate

from vitprof.formats import expressions
from vitprof.formats.charts import drawn
from vitprof.formats.markup import Markup
from vitprof.report.base import Report
from vitprof.report.document import Axes, Charts, Derivation, Kind, Label, Table
from vitprof.values.size import Size

# What Markdown takes for markup: signs, those of a word's edge, entities, and what begins a line.
_SIGNS = re.compile(
    r"[\\`*\[\]<|$]|(?<!\w)_|_(?!\w)|~(?!\s)|(?<!\s)~|&(?=#?\w+;)|^(?:#(?=[#\s])|>|[+-](?=\s))"
)
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s)")
_FENCE = re.compile("```+")
_WIDTH = 84  # characters of an equation's line


def render_markdown(report: Report) -> str:
    """Return the document as Markdown, with an empty line between its parts."""
    return "\n\n".join(_Markdown().parts(report)) + "\n"


class _Markdown(Markup):
    def escape(self, words: str) -> str:
        return _NUMBERED.sub(r"\1\\\2", _SIGNS.sub(r"\\\g<0>", words))

    def strong(self, words: str) -> str:
        return f"**{words}**"

    def heading(self, words: str, remark: str) -> str:
        return f"**{words}** {remark}".rstrip()

    def section(self, words: str, remark: str, level: int) -> str:
        return f"{'#' * level} {words} {remark}".rstrip()

    def derivation(self, derivation: Derivation) -> Iterator[str]:
        yield from self.where(derivation)
        for step in derivation.steps:
            yield self.step(step)
            yield _displayed(derivation.of, expressions.aligned(step.size, _WIDTH))

    def defined(self, names: tuple[Size, ...]) -> list[str]:
        return [f"${expressions.LATEX.defined(name)}$" for name in names]

    def paragraph(self, words: str) -> str:
        return words

    def preformatted(self, words: str) -> str:
        fence = "`" * max((len(found) + 1 for found in _FENCE.findall(words)), default=3)
        return f"{fence}text\n{words.rstrip()}\n{fence}"

    def table(self, table: Table) -> Iterator[str]:
        if table.title:
            yield self.escape(table.title)
        align = ["right" if column.kind is Kind.NUMBER else "left" for column in table.columns]
        header = [self.escape(column.title) for column in table.columns]
        rows = [self.row(table, row) for row in (*table.rows, *table.totals)]
        yield tabulate(rows, header, tablefmt="pipe", colalign=align, disable_numparse=True)

    def facts(self, lines: list[tuple[str, str]]) -> Iterator[str]:
        yield "\n".join(f"- {name}: {line}" for name, line in lines)

    def formula(self, size: Size, *, numbers: bool) -> str:
        return self.escape(size.numbers if numbers else size.formula)

    def shapes(self, axes: Axes, *, numbers: bool) -> str:
        return self.escape(axes.numbers if numbers else axes.formula)

    def label(self, label: Label) -> str:
        return self.escape(label.path)

    def charts(self, charts: Charts) -> Iterator[str]:
        return map(self.preformatted, drawn(charts))


def _displayed(left: str, lines: list[str]) -> str:
    r"""Return an equation as displayed math, in one line of the source.

    A line of it ends in `\cr`, since GitHub makes a single backslash of two, and line breaks
    within `$$` may end the math there.
    """
    if len(lines) == 1:
        return rf"$$\text{{{left}}} {lines[0].removeprefix('&')}$$"
    rows = r" \cr ".join(lines)
    return rf"$$\begin{{aligned}} \text{{{left}}} {rows} \end{{aligned}}$$"
