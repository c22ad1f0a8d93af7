"""Write the rows of a report as a Parquet file."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from vitprof.formats.json import render_json
from vitprof.report.base import Report

_LARGEST = 2**63 - 1
_DIGITS = 76  # of pyarrow's decimal256, the largest


def render_parquet(report: Report) -> bytes:
    """Return a Parquet file of the rows, with the whole report as JSON in its metadata.

    Counts beyond 64 bits are decimals of 76 digits, which are exact.
    """
    records = report.records()
    columns = [*zip(*records.rows, strict=True)] or [() for _ in records.columns]
    table = pa.table(
        {name: _array(cells) for name, cells in zip(records.columns, columns, strict=True)}
    )
    about = json.dumps(json.loads(render_json(report)))
    sink = pa.BufferOutputStream()
    parquet.write_table(table.replace_schema_metadata({"vitprof": about}), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _array(cells: tuple[Any, ...]) -> Any:
    """Return the cells as a pyarrow array; counts beyond 64 bits become decimals."""
    given = {type(cell) for cell in cells if cell is not None}
    if given == {bool}:
        return pa.array(cells, pa.bool_())
    if given <= {int}:
        small = all(abs(cell) <= _LARGEST for cell in cells if cell is not None)
        return pa.array(cells, pa.int64() if small else pa.decimal256(_DIGITS, 0))
    if given <= {int, float}:
        return pa.array(cells, pa.float64())
    return pa.array([None if cell is None else _text(cell) for cell in cells], pa.string())


def _text(cell: object) -> str:
    """Return a cell as text; half a surrogate pair, which UTF-8 lacks, is escaped."""
    return str(cell).encode(errors="backslashreplace").decode()
