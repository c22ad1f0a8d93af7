"""Counts of layers, read from each format and from tables on a console."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO, StringIO
from itertools import takewhile
from typing import Any, NamedTuple

import pytest
from pyarrow import parquet
from reports import profile

import vitprof
from vitprof.counters import TOOLS
from vitprof.formats import Format, render
from vitprof.report.counts import Counts
from vitprof.report.layers import Row

Record = dict[str, Any]

WIDE: dict[str, Callable[[], Counts]] = {
    "folded": lambda: vitprof.params("mae", mixer="lambda", fold=True),
    "full": lambda: profile("macs", "classifier", "lambda", False),
    "batch": lambda: vitprof.macs("layer", batch=100, tokens=50),
    "absurd": lambda: vitprof.macs(
        "layer", batch=10**6, tokens=10**5, dim=10**4, counters=["analytic"]
    ),
}


@cache
def wide(name: str) -> Counts:
    return WIDE[name]()


@pytest.fixture(scope="module")
def default_mae() -> Counts:
    return wide("folded")


def record(row: Row) -> Record:
    """Return a row without its path, with the tools as further columns."""
    names = ("path", "type", "repeat", "formula", "numbers", "each", "count")
    return {name: getattr(row, name) for name in names} | dict(row.counters)


def typed(cells: dict[str, str]) -> Record:
    """Convert cells of text to values; an empty count is None."""
    words = {"path", "type", "formula", "numbers"}
    return {
        name: cell if name in words else int(cell.replace(",", "")) if cell else None
        for name, cell in cells.items()
    }


def from_csv(report: Counts) -> list[Record]:
    reader = csv.DictReader(StringIO(report.to_csv()), strict=True)
    return [typed(cells) for cells in reader]


def from_json(report: Counts) -> list[Record]:
    rows = json.loads(report.to_json())["rows"]
    return [row | row.pop("counters") for row in rows]


def from_parquet(report: Counts) -> list[Record]:
    data = render(report, Format.PARQUET)
    assert isinstance(data, bytes)
    rows: list[Record] = parquet.read_table(BytesIO(data)).to_pylist()
    return rows


def from_frame(report: Counts) -> list[Record]:
    frame = report.to_frame().astype(object)
    records: list[Any] = frame.where(frame.notna(), None).to_dict("records")
    return records


READERS = [from_csv, from_json, from_frame, from_parquet]


def for_people(report: Counts) -> list[dict[str, str]]:
    """Return the rows by path and the totals, formatted for people."""
    folded = any(row.repeat > 1 for row in report.tree)
    lines: list[dict[str, object]] = []
    for row in report.tree:
        texts = {"layer": row.path, "type": row.type, "formula": row.formula}
        figures = {"of one": row.each, "count": row.count, **row.counters}
        lines.append({**texts, "numbers": row.numbers, **figures})
    for name, count in report.totals.items():
        tools = report.counters if name == report.headline else {}
        lines.append({"layer": name.replace("_", " "), "count": count, **tools})
    columns = ["layer", "type", "formula", "numbers", "of one", "count", *report.counters]
    if not folded:
        columns.remove("of one")

    def words(cell: object) -> str:
        return f"{cell:,}" if isinstance(cell, int) else str(cell or "")

    return [{name: words(line.get(name)) for name in columns} for line in lines]


class Printed(NamedTuple):
    """A parsed table: the cells of its rows and of its totals, by column."""

    rows: list[dict[str, str]]
    totals: list[dict[str, str]]


_COLUMN = re.compile(rf"of one|count|{'|'.join(TOOLS)}|layer|type|formula|numbers")
_LEFT = {"layer", "type", "formula", "numbers"}  # these come first; the others are figures


def cells_of(line: str, columns: list[re.Match[str]]) -> dict[str, str]:
    """Split a line into cells: figures end with their headers, texts start with theirs."""
    cells, rest = {}, line.ljust(columns[-1].end())
    for column in reversed([column for column in columns if column[0] not in _LEFT]):
        cells[column[0]] = rest[: column.end()].split(" ")[-1]
        rest = rest[: column.end() - len(cells[column[0]])]
    end = None
    for column in reversed([column for column in columns if column[0] in _LEFT]):
        cells[column[0]] = rest[column.start() : end].rstrip()
        end = column.start()
    return cells


def tables(text: str) -> Iterator[Printed]:
    """Return the tables with counts in a text."""
    lines = [line.rstrip() for line in text.splitlines()]
    for place, line in enumerate(lines):
        columns = [*_COLUMN.finditer(lines[place - 1])]
        figures = {column[0] for column in columns} & {"count", *TOOLS}
        if not re.fullmatch("─+", line) or not figures:
            continue
        table = Printed([], [])
        body = iter(lines[place + 1 :])
        for section in table:
            for cells in (cells_of(row, columns) for row in takewhile(bool, body)):
                if any(cells[name] for name in figures):
                    section.append(cells)
                    continue
                for name in cells.keys() & _LEFT:  # what did not fit into the line above
                    section[-1][name] = f"{section[-1][name]} {cells[name]}".rstrip()
        yield table


def with_paths(rows: list[dict[str, str]]) -> Iterator[Record]:
    """Return the rows of a table by path; a label has only the last part of the path."""
    parents: list[str] = []
    for cells in rows:
        label = cells.pop("layer")
        name = label.strip().partition(" ×")[0]
        parents = [*parents[: (len(label) - len(label.lstrip())) // 2], name]
        yield typed({"path": ".".join(parents), **cells})
