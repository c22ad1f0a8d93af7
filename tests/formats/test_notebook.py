"""Reports in a notebook: equal blocks in one row, and the figure of a sweep."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from reports import MEASURES, SMALL

import vitprof
from vitprof.report.base import Report


def layers(report: Report) -> list[str]:
    """Return the first cells of the first table that a notebook shows."""
    page = ElementTree.fromstring(report._repr_html_())
    table = next(page.iter("table"))
    rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    return [row[0].strip() for row in rows]


def reports(fold: bool | None) -> list[Report]:
    sizes = SMALL["classifier"]
    counts = [
        count("classifier", fold=fold, counters=["analytic"], **sizes)
        for count in MEASURES.values()
    ]
    memory = vitprof.memory("classifier", fold=fold, trace=False, **sizes)
    depth = vitprof.macs("classifier", fold=fold, counters=["analytic"], by="depth", **sizes)
    return [*counts, memory, depth]


def test_equal_blocks_are_folded_for_people_alone() -> None:
    for report, folded, full in zip(reports(None), reports(True), reports(False), strict=True):
        assert any("0-2 ×3" in name for name in layers(report))
        assert report._repr_html_() == folded._repr_html_() != full._repr_html_()
        for text in (Report.to_markdown, Report.to_latex, str):
            assert text(report) == text(folded) != text(full)
        for data in (Report.to_csv, Report.to_json):
            assert data(report) == data(full) != data(folded)
        assert report.to_frame().equals(full.to_frame())


def test_a_sweep_has_its_figure() -> None:
    sweep = vitprof.sweep("layer", mixers=["attn", "linear"], measures=["macs"], tokens=(8, 16))
    text, shown = sweep.to_html(), sweep._repr_html_()
    assert shown.startswith(text)
    figure = ElementTree.fromstring(shown.removeprefix(text))
    assert re.fullmatch(r"\{.*\}svg", figure.tag)
    assert {"attn", "linear"} <= {*"".join(figure.itertext()).split()}


def test_a_sweep_that_cannot_be_drawn_is_a_table() -> None:
    sweep = vitprof.sweep("layer", mixers=["attn"], measures=["macs"], tokens=(8,))
    with pytest.raises(vitprof.SpecError):
        sweep.to_figure()
    assert sweep._repr_html_() == sweep.to_html()
