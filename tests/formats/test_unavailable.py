"""A tool without a reading, in every format."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from typing import NoReturn
from xml.etree import ElementTree

import pandas
import pytest
import threads
from counted import tables
from pandas.testing import assert_frame_equal
from rendered import unmarked
from reports import SMALL, printed

import vitprof
from vitprof.counters import TOOLS
from vitprof.report.counts import Counts

one_thread = threads.one_thread

REASON = "no <rule> for R&D|"


@pytest.fixture
def unavailable(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Return a report without a reading of fvcore."""

    def refuse(module: object, *inputs: object) -> NoReturn:
        raise RuntimeError(REASON)

    monkeypatch.setitem(TOOLS, "fvcore", replace(TOOLS["fvcore"], macs=refuse))
    report = vitprof.macs("layer", **SMALL["layer"])
    assert report.counters.keys() == TOOLS.keys() - {"fvcore"}
    assert REASON in report.unavailable["fvcore"]
    return report


def test_unavailable_in_a_table(unavailable: Counts) -> None:
    for width in (40, 80, 160):
        text = printed(unavailable, width)
        (table,) = [table for table in tables(text) if "fvcore" in table.rows[0]]
        assert {row["fvcore"] for row in table.rows} == {"n/a"}
        assert [row["fvcore"] for row in table.totals] == ["n/a", ""]
        assert REASON in " ".join(text.split())


def test_unavailable_in_json(unavailable: Counts) -> None:
    document = json.loads(unavailable.to_json())
    assert document["unavailable"] == dict(unavailable.unavailable)
    assert "fvcore" not in document["counters"]


def test_unavailable_in_markdown(unavailable: Counts) -> None:
    lines = map(unmarked, unavailable.to_markdown().splitlines())
    (line,) = [line for line in lines if REASON in line]
    assert line.startswith("- fvcore, n/a: ")


def test_unavailable_in_html(unavailable: Counts) -> None:
    html = unavailable.to_html()
    assert "<rule>" not in html
    page = ElementTree.fromstring(f"<body>{html}</body>")
    (line,) = [text for p in page.iter("p") if REASON in (text := "".join(p.itertext()))]
    assert line.startswith("fvcore, n/a: ")


def test_unavailable_in_csv(unavailable: Counts) -> None:
    frame = pandas.read_csv(StringIO(unavailable.to_csv()))
    assert_frame_equal(
        frame.fillna({"formula": "", "numbers": ""}), unavailable.to_frame(), check_dtype=False
    )
