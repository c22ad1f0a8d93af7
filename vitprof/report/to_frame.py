"""A report as a pandas DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.report.records import header, record
from vitprof.report.report import Report

if TYPE_CHECKING:
    from pandas import DataFrame


def to_frame(report: Report) -> DataFrame:
    """The rows; columns of tools are nullable integers."""
    import pandas

    records = [record(report, row) for row in report.rows]
    frame = pandas.DataFrame(records, columns=header(report))
    return frame.astype(dict.fromkeys(report.counters, "Int64"))
