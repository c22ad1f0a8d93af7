"""Presets against timm's own models, row by row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from originals import DATA, ORIGINALS, compare

from vitprof.published import find_preset

ROWS: dict[tuple[str, str], Any] = {
    (row["preset"], row["original"]): row
    for row in map(json.loads, DATA.read_text(encoding="utf-8").splitlines())
}
# timm's affine norm has no module for its gain and none for its bias, which are rows of their own.
IN_HALVES = {"resmlp-s12", "resmlp-s24", "resmlp-s36"}


def test_every_preset_with_an_original_was_compared() -> None:
    assert [*ROWS] == [(preset.name, reference) for preset, reference in ORIGINALS]


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row["preset"])
def test_presets_have_the_rows_of_their_originals(row: Any) -> None:
    assert row["macs only here"] == row["macs only there"] == []
    here, there = row["params only here"], row["params only there"]
    if row["preset"] in IN_HALVES:
        ((whole, often),) = here
        assert there == [[whole // 2, 2 * often]]
    else:
        assert here == there == []


@pytest.mark.parametrize("name", ["siglip-b-16-224"])
def test_a_preset_is_compared_anew(name: str) -> None:
    preset = find_preset(name)
    found = compare(preset, preset.libraries[0])
    row = ROWS[name, preset.libraries[0]]
    for command, compared in found.items():
        assert compared.equal
        assert compared.own.total() == row[f"rows of {command}"]
        assert sum(count * often for count, often in compared.own.items()) == row[command]
