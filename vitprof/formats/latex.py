"""Write a document as LaTeX: tables with booktabs, formulas in math mode."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from vitprof.formats import expressions
from vitprof.formats.markup import Markup
from vitprof.report.base import Report
from vitprof.report.document import Axes, Charts, Derivation, Kind, Label, Table
from vitprof.values.size import Size

_WIDTH = 54  # characters of an equation's line
_CLOSE = r"\abovedisplayskip=0pt\belowdisplayskip=3pt\sloppy"
_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"×": r"$\times$", "−": "$-$", "√": r"$\sqrt{}$", "≥": r"$\geq$", "²": "$^2$", "³": "$^3$"},
    **{"⌈": r"$\lceil$", "⌉": r"$\rceil$", "⌊": r"$\lfloor$", "⌋": r"$\rfloor$", "µ": r"$\mu$"},
    **{"<": "$<$", ">": "$>$", "|": "$|$", "φ": r"$\varphi$"},
}
_ACCENTS = {  # combining characters
    **{"\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~"},
    **{"\u0308": r"\"", "\u0327": r"\c"},
}


def render_latex(report: Report) -> str:
    """Return the document as a fragment of LaTeX; its first lines say which packages it needs."""
    packages = ["booktabs"]
    if any(isinstance(element, Derivation) for element in report.document()):
        packages.append("amsmath")
    needs = "".join(f"% needs \\usepackage{{{package}}}\n" for package in packages)
    return needs + "\n\n".join(_Latex().parts(report)) + "\n"


class _Latex(Markup):
    def escape(self, words: str) -> str:
        printed = "".join(_SIGNS.get(sign) or _accented(sign) for sign in words)
        return re.sub("-(?=-)", "-{}", printed)  # keeps LaTeX from joining hyphens to a dash

    def strong(self, words: str) -> str:
        return rf"\textbf{{{words}}}"

    def heading(self, words: str, remark: str) -> str:
        # What follows is not to run on in the line of the heading.
        return rf"\paragraph{{{words}}} {remark}".rstrip() + "\n" + r"\leavevmode\par"

    def section(self, words: str, remark: str, level: int) -> str:
        return rf"\{'sub' * (level - 1)}section*{{{f'{words} {remark}'.rstrip()}}}"

    def derivation(self, derivation: Derivation) -> Iterator[str]:
        yield from self.where(derivation)
        left, steps = rf"\text{{{self.escape(derivation.of)}}}", []
        for step in derivation.steps:
            lines = expressions.aligned(step.size, _WIDTH)
            rows = " \\\\\n".join([f"{left} {lines[0]}", *lines[1:]])
            steps.append((self.step(step), rows))
        (words, first), *others = steps
        following = [f"\\intertext{{{words}}}\n{rows}" for words, rows in others]
        equations = " \\\\\n".join([first, *following])
        yield "\n".join(
            [
                rf"{{{_CLOSE}\allowdisplaybreaks",
                rf"\noindent {words}",
                *(r"\begin{align*}", equations, r"\end{align*}}"),
            ]
        )

    def defined(self, names: tuple[Size, ...]) -> list[str]:
        return [f"${expressions.LATEX.defined(name)}$" for name in names]

    def paragraph(self, words: str) -> str:
        return words

    def preformatted(self, words: str) -> str:
        inside = words.replace(r"\end{verbatim}", r"\end {verbatim}")
        return "\n".join([r"{\footnotesize\begin{verbatim}", inside, r"\end{verbatim}", "}"])

    def table(self, table: Table) -> Iterator[str]:
        if table.title:
            yield self.escape(table.title)
        align = "".join("r" if column.kind is Kind.NUMBER else "l" for column in table.columns)
        lines = [rf"\noindent\begin{{tabular}}{{{align}}}", r"\toprule"]
        lines.append(_line(self.escape(column.title) for column in table.columns))
        for rows in (table.rows, table.totals):
            if rows or rows is table.rows:
                lines.append(r"\midrule")
            lines += [_line(self.row(table, row)) for row in rows]
        yield "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])

    def facts(self, lines: list[tuple[str, str]]) -> Iterator[str]:
        items = [rf"  \item[{{{name}}}] {line}" for name, line in lines]
        yield "\n".join([r"\begin{description}", *items, r"\end{description}"])

    def formula(self, size: Size, *, numbers: bool) -> str:
        return f"${expressions.latex(size, numbers=numbers)}$"

    def shapes(self, axes: Axes, *, numbers: bool) -> str:
        shapes = (expressions.LATEX.shape(shape, numbers=numbers) for shape in axes.shapes)
        return ", ".join(f"${shape}$" for shape in shapes)

    def label(self, label: Label) -> str:
        times = rf" $\times${label.repeat}" if label.folded else ""
        return r"\quad " * label.level + self.escape(label.name) + times

    def charts(self, charts: Charts) -> Iterable[str]:
        return ()  # a paper takes the figure of `sweep --plot`


def _accented(sign: str) -> str:
    """Return a letter with an accent as a command on the letter; any other sign as it is."""
    parts = unicodedata.normalize("NFD", sign)
    return f"{_ACCENTS[parts[1]]}{{{parts[0]}}}" if parts[1:] in _ACCENTS else sign


def _line(cells: Iterable[str]) -> str:
    line = f"{' & '.join(cells)} \\\\"
    return f"{{}}{line}" if line[0] in "[*" else line  # else the row before takes it for its own
