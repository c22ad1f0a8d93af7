"""Web page of a figure, with a table of its data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape as escape_html
from typing import TYPE_CHECKING

from vitprof.text import visible
from vitprof.values.options import Plain, label_of

if TYPE_CHECKING:
    from vitprof.report.sweep import Sweep

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
       color: #262626; background: white; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .8rem; border-bottom: 1px solid #ddd; text-align: left; }
th { border-color: #262626; } dt { font-weight: bold; } dd { margin: 0 0 .4rem; }
td.number, th.number { text-align: right; }
"""


def page(sweep: Sweep, measures: Sequence[str], svg: str) -> str:
    """Return the page as HTML; `svg` is the content of the figure's SVG file."""
    over = ", ".join(sweep.label_of_option(option) for option in sweep.axes)
    title = _escape(
        f"{' and '.join(sweep.label_of_measure(name) for name in measures)} over {over}"
    )
    drawing = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n",
            drawing,
            *_facts(sweep),
            *_table(sweep),
            "</body>\n</html>\n",
        ]
    )


def _facts(sweep: Sweep) -> Iterator[str]:
    yield "<dl>\n"
    for name, text in sweep.facts().lines.items():
        yield f"<dt>{_escape(name)}</dt><dd>{_escape(text)}</dd>\n"
    yield "</dl>\n"


def _table(sweep: Sweep) -> Iterator[str]:
    records = sweep.records()
    yield "<table>\n<tr>"
    for name in records.columns:
        yield f"<th{_kind(name != 'curve' and name != 'reason')}>{_escape(label_of(name))}</th>"
    yield "</tr>\n"
    for row in records.rows:
        cells = (f"<td{_kind(_is_number(cell))}>{_shown(cell)}</td>" for cell in row)
        yield f"<tr>{''.join(cells)}</tr>\n"
    yield "</table>\n"


def _kind(number: bool) -> str:
    return ' class="number"' if number else ""


def _is_number(cell: Plain | None) -> bool:
    return isinstance(cell, (int, float))


def _shown(cell: Plain | None) -> str:
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else _escape(str(cell))


def _escape(words: str) -> str:
    """Return text such that a browser shows it unchanged, with escapes for what is not visible."""
    return escape_html(visible(words))
