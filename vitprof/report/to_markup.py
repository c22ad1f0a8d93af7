"""A report as Markdown and as HTML."""

from __future__ import annotations

from html import escape

from vitprof.report.records import Cell, facts, header, record, totals
from vitprof.report.report import Report
from vitprof.report.verdict import why


def to_markdown(report: Report) -> str:
    """The rows as a GitHub table, then totals and conditions as a list."""
    sums = [f"- {name}: {count:,}" for name, count in totals(report)]
    sums += [f"- {tool} says: {count:,}" for tool, count in report.counters.items()]
    below = [f"- {name}: {text}" for name, text in facts(report).items()]
    return "\n".join([_tabulate(report, "github"), "", *sums, *below]) + "\n"


def to_html(report: Report) -> str:
    """The rows as a table, then totals and conditions as paragraphs."""
    lines = dict(facts(report))
    sums = ", ".join(f"{name} {count:,}" for name, count in totals(report))
    said = ", ".join(f"{tool} {count:,}" for tool, count in report.counters.items())
    lines = {"totals": sums, **({"counters": said} if said else {}), **lines}
    below = "".join(f"<p><b>{escape(n)}</b>: {escape(text)}</p>" for n, text in lines.items())
    return _tabulate(report, "html") + below


def _tabulate(report: Report, style: str) -> str:
    from tabulate import tabulate

    rows = [[_cell(cell) for cell in record(report, row)] for row in report.rows]
    names = header(report)
    numeric = {"repeat", "each", "count", *report.counters, *report.unavailable}
    align = ["right" if name in numeric else "left" for name in names]
    return tabulate(rows, names, tablefmt=style, colalign=align, disable_numparse=True)


def why_to_markdown(report: Report) -> str:
    """The causes of every difference as a GitHub table."""
    from tabulate import tabulate

    names = ["tool", "cause", "layer", "amount"]
    align = ["left", "left", "left", "right"]
    table = tabulate(why(report), names, tablefmt="github", colalign=align, disable_numparse=True)
    return f"{table}\n"


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else cell
