"""A report's rows as CSV: one header, one line a row, exact numbers."""

from __future__ import annotations

import csv
from io import StringIO

from vitprof.report.base import Report


def render_csv(report: Report) -> str:
    """The rows; an empty cell is what there is not."""
    stream, records = StringIO(), report.records()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(records.columns)
    writer.writerows(records.rows)
    return stream.getvalue()
