"""A sweep as a Parquet file, where pyarrow is installed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitprof.report.sweep import Sweep

_LARGEST = 2**63 - 1
_DIGITS = 76  # the most that a decimal has


def sweep_to_parquet(sweep: Sweep) -> bytes:
    """A row a point, and all but the points as JSON in the file's metadata, under `vitprof`."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = list(zip(*sweep.records(), strict=True)) or [() for _ in sweep.header()]
    table = pa.table(
        {name: _array(cells) for name, cells in zip(sweep.header(), columns, strict=True)}
    )
    about = json.dumps(asdict(replace(sweep, points=())), ensure_ascii=False)
    sink = pa.BufferOutputStream()
    parquet.write_table(table.replace_schema_metadata({"vitprof": about}), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _array(cells: tuple[Any, ...]) -> Any:
    """A column; counts beyond 64 bits are exact as decimals."""
    import pyarrow as pa

    given = {type(cell) for cell in cells if cell is not None}
    if given <= {int}:
        small = all(abs(cell) <= _LARGEST for cell in cells if cell is not None)
        return pa.array(cells, pa.int64() if small else pa.decimal256(_DIGITS, 0))
    if given <= {int, float}:
        return pa.array(cells, pa.float64())
    return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
