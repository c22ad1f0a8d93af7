"""A report as a pandas DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.report.records import header, record
from vitprof.report.report import Report

if TYPE_CHECKING:
    from pandas import DataFrame

_LARGEST = 2**63 - 1


def to_frame(report: Report) -> DataFrame:
    """The rows, equal to what pandas reads from the CSV.

    Columns of tools are nullable integers; a column with a count beyond 64 bits holds
    Python's own.
    """
    import pandas

    records = [record(report, row) for row in report.rows]
    frame = pandas.DataFrame(records, columns=header(report))
    small = [
        tool
        for tool in (*report.counters, *report.unavailable)
        if all((row.counters.get(tool) or 0) <= _LARGEST for row in report.rows)
    ]
    return frame.astype(dict.fromkeys(small, "Int64"))
