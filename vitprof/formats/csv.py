"""Write the rows of a report as CSV: a header, one line per row, exact numbers."""

from __future__ import annotations

import csv
from io import StringIO

from vitprof.report.base import Report


def render_csv(report: Report) -> str:
    """Return the rows as CSV; None is an empty cell."""
    stream, records = StringIO(), report.records()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(records.columns)
    writer.writerows(records.rows)
    return stream.getvalue()
