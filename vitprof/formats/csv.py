"""Write the rows of a report as CSV: a header, one line per row, exact numbers.

Text is text: what a spreadsheet would run as a formula has an apostrophe in front, and what prints
as nothing visible, such as a line break, is escaped. Numbers are written as they are.
"""

from __future__ import annotations

import csv
import re
from io import StringIO

from vitprof.report.base import Report
from vitprof.text import visible

_FORMULA = re.compile("[=+@-].")  # how one begins
_NUMBER = re.compile("[+-]?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?")


def render_csv(report: Report) -> str:
    """Return the rows as CSV; None is an empty cell."""
    stream, records = StringIO(), report.records()
    writer = csv.writer(stream, lineterminator="\n")
    for row in (records.columns, *records.rows):
        writer.writerow([_text(cell) if isinstance(cell, str) else cell for cell in row])
    return stream.getvalue()


def _text(words: str) -> str:
    shown = visible(words)
    is_formula = _FORMULA.match(shown) and not _NUMBER.fullmatch(shown)
    return f"'{shown}" if is_formula else shown
