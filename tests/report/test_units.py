"""Counts in thousands, millions and more: rounded exactly, with the unit in the header."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from commands import Capture, said
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reports import report_of

import vitprof
from vitprof.errors import SpecError
from vitprof.report.document import Column, Kind, Label, Marked, Row, Table
from vitprof.report.units import UNITS, in_units
from vitprof.values.amounts import Bytes

FACTORS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
COUNTS = st.lists(st.integers(0, 10**15) | st.integers(0, 2_000), min_size=1, max_size=4)


def table(counts: list[int]) -> Table:
    columns = (
        Column("name"),
        Column("MACs", Kind.NUMBER, counts="macs"),
        Column("memory", Kind.NUMBER),
        Column("images", Kind.NUMBER),
    )
    cells = [Marked(count) if count % 3 == 0 else count for count in counts]
    rows = (Row((Label("a", "a"), cell, Bytes(2_000_000), 4_321)) for cell in cells)
    return Table(columns, tuple(rows), totals=(Row(("n/a", "n/a", None, None)),))


@settings(derandomize=True, database=None)
@given(COUNTS, st.sampled_from(UNITS.names))
@example([0], "G")
@example([0], "auto")
@example([5, 17_563_828_224], "G")
@example([999, 12], "auto")
@example([1_000], "auto")
@example([999_999_999], "G")
def test_a_cell_is_the_count_rounded(counts: list[int], unit: str) -> None:
    (found,) = in_units((table(counts),), unit)
    assert isinstance(found, Table)
    largest = max(counts)
    if unit == "auto":
        fitting = [name for name in FACTORS if FACTORS[name] <= largest]
        unit = fitting[-1] if fitting else ""
    titles = [column.title for column in found.columns]
    assert titles == ["name", f"MACs ({unit})" if unit else "MACs", "memory", "images"]
    assert [row.cells[2:] for row in found.rows] == [(Bytes(2_000_000), 4_321)] * len(counts)
    assert found.totals == table(counts).totals
    cells = [row.cells[1] for row in found.rows]
    if not unit:
        assert cells == [row.cells[1] for row in table(counts).rows]
        return
    assert [isinstance(cell, Marked) for cell in cells] == [count % 3 == 0 for count in counts]
    texts = [str(cell.cell if isinstance(cell, Marked) else cell) for cell in cells]
    decimals = {len(text.partition(".")[2]) for text in texts if text != "0"}
    assert len(decimals) <= 1
    for count, text in zip(counts, texts, strict=True):
        digits = text.lstrip("<").replace(",", "")
        step = Fraction(1, 10 ** len(digits.partition(".")[2]))
        exact = Fraction(count, FACTORS[unit])
        if text[0] == "<":
            assert 0 < exact < step / 2
            assert Fraction(digits) == step
        elif text == "0":
            assert count == 0
        else:
            assert abs(Fraction(digits) - exact) <= step / 2
            assert Fraction(digits) > 0
        if count == largest and count:
            significant = re.sub(r"^[0.]+|[.]", "", digits)
            assert len(significant) >= 4
            assert len(significant) <= 5 or decimals == {2}


@pytest.mark.parametrize("name", ["params", "macs", "compare", "sweep", "presets"])
def test_programs_get_exact_counts(name: str) -> None:
    report = report_of(name)
    scaled = report.in_units("M")
    assert (scaled.to_json(), scaled.to_csv()) == (report.to_json(), report.to_csv())
    assert "(M)" in scaled.to_html()
    assert "(M)" not in report.to_html()
    assert scaled.complaint == report.complaint
    assert scaled.brief().to_latex() == report.brief().in_units("M").to_latex()


def test_a_paper_has_parameters_in_millions_and_macs_in_billions() -> None:
    report = vitprof.compare(preset="deit-s", mixers=["attn", "linear"], along="classes", up_to=2)
    lines = report.in_units("auto").to_latex().splitlines()
    (head,) = [line for line in lines if "parameters" in line and r"\\" in line]
    assert "parameters (M)" in head
    assert "MACs (G)" in head
    (row,) = [line for line in lines if line.startswith("attn &")]
    # Touvron et al. 2021, table 5: 22 M parameters; by hand in tests/published.
    assert [cell.strip() for cell in row.split("&")][1] == "22.05"


@pytest.mark.parametrize("command", ["params", "macs", "compare", "sweep", "presets", "match"])
@pytest.mark.parametrize("format", ["json", "csv"])
def test_programs_have_no_units(capsys: Capture, command: str, format: str) -> None:
    words = {"sweep": ["--tokens=64:128"], "match": ["deit-s", "--vary=dim"]}.get(command, [])
    sentence = said(capsys, command, *words, "--units=G", f"--format={format}")
    assert sentence.startswith(f"--units G rounds counts, which are exact in {format}; leave it")


def test_a_unit_that_is_unknown(capsys: Capture) -> None:
    assert "units can be K, M, G, T or auto, not 'g'" in said(capsys, "macs", "--units=g")
    with pytest.raises(SpecError, match="units can be K, M, G, T or auto"):
        report_of("macs").in_units("B")
