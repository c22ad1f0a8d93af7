"""Convert the rows of a report to a pandas DataFrame."""

from __future__ import annotations

from typing import Any

import pandas

from vitprof.report.base import Report

_LARGEST = 2**63 - 1


def render_frame(report: Report) -> pandas.DataFrame:
    """Return the rows as a DataFrame, with the values that pandas reads from the CSV.

    Dtypes are Int64, Float64, boolean or object; a column with a count beyond 64 bits holds
    Python integers.
    """
    records = report.records()
    frame = pandas.DataFrame(records.rows, columns=[*records.columns], dtype=object)
    return frame.astype({name: _dtype([*frame[name]]) for name in frame})


def _dtype(cells: list[Any]) -> str:
    given = {type(cell) for cell in cells if cell is not None}
    if given == {bool}:
        return "boolean"
    if cells and not given:
        return "Int64"
    if not given or not given <= {int, float}:
        return "object"
    if float in given:
        return "Float64"
    small = all(abs(cell) <= _LARGEST for cell in cells if cell is not None)
    return "Int64" if small else "object"
