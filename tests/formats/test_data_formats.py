"""Every report as CSV, data frame, JSON and Parquet, parsed and compared with its records."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from io import BytesIO, StringIO
from typing import NoReturn

import pandas
import threads
from pyarrow import parquet
from reports import every_report, report_of

from vitprof.formats import Format, render
from vitprof.report import base

one_thread = threads.one_thread


@every_report
def test_csv_is_the_frame(name: str) -> None:
    report = report_of(name)
    text, frame, records = report.to_csv(), report.to_frame(), report.records()
    text = text.replace(",'+1 UNEXPLAINED", ",+1 UNEXPLAINED")  # else it would be a formula
    header, *rows = csv.reader(StringIO(text), strict=True)
    assert tuple(header) == records.columns
    assert len(set(header)) == len(header)
    assert rows == [["" if c is None else str(c) for c in row] for row in records.rows]
    assert frame.to_csv(index=False) == text
    loaded = pandas.read_csv(StringIO(text), keep_default_na=False, dtype=str)
    assert [*loaded.columns] == [*frame.columns] == header
    dtypes = {bool: "boolean", int: "Int64", float: "Float64", str: "object"}
    for column, cells in zip(header, zip(*records.rows, strict=True), strict=bool(rows)):
        kinds = {type(cell) for cell in cells if cell is not None}
        if len(kinds) == 1:
            assert frame[column].dtype == dtypes[kinds.pop()]
    exact = frame.astype(object).where(frame.notna(), None)
    assert [*exact.itertuples(index=False, name=None)] == [*records.rows]


@every_report
def test_json_is_the_contract_of_all(name: str) -> None:
    report = report_of(name)

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    text = report.to_json()
    assert text.endswith("}\n")
    document = json.loads(text, parse_constant=refuse)
    assert [*document][:2] == ["schema", "command"]
    assert (document.pop("schema"), document.pop("command")) == ("vitprof/2", report.command)
    assert base.SCHEMA == "vitprof/2"
    assert document == json.loads(json.dumps(report.data()))
    assert document


@every_report
def test_parquet_is_the_records_and_all_of_the_json(name: str) -> None:
    report = report_of(name)
    data = render(report, Format.PARQUET)
    assert isinstance(data, bytes)
    table, records = parquet.read_table(BytesIO(data)), report.records()
    assert tuple(table.column_names) == records.columns
    rows = [tuple(row.values()) for row in table.to_pylist()]
    for row, wanted in zip(rows, records.rows, strict=True):
        for found, cell in zip(row, wanted, strict=True):
            mixed = type(cell) is int and isinstance(found, str)  # in a column that holds words
            assert found == (str(cell) if mixed else cell)
            assert mixed or isinstance(found, (Decimal, type(cell)))
    assert json.loads(table.schema.metadata[b"vitprof"]) == json.loads(report.to_json())
