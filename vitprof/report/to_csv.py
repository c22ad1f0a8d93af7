"""A report as CSV: one header, one line a row, exact integers."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

from vitprof.report.records import header, record

if TYPE_CHECKING:
    from vitprof.report.report import Report


def to_csv(report: Report) -> str:
    """The rows; an empty cell where a tool says nothing of a row."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header(report))
    writer.writerows(record(report, row) for row in report.rows)
    return text.getvalue()
