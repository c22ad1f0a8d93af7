"""Sweeps read from JSON: what is none is refused, whichever part of it is wrong."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cases import for_each
from commands import Capture, said

import vitprof
from vitprof.report.sweep import Sweep

RESUMED = ("sweep", "--tokens=8,16", "--measure", "--resume")


@cache
def written() -> str:
    return vitprof.sweep("layer", mixers=["attn", "linear"], tokens="8,16").to_json()


def test_what_is_written_is_read() -> None:
    assert Sweep.from_json(written()).to_json() == written()


WRONG: list[tuple[tuple[str | int, ...], Any]] = [
    *(((name,), None) for name in ("spec", "workload", "versions", "axes", "units", "own")),
    *(((name,), []) for name in ("conditions", "curves", "measures")),
    *(((name,), [[]]) for name in ("curves", "measures", "points", "crossovers")),
    (("axes", "tokens"), []),
    (("axes", "tokens"), 8),
    (("own", "attn"), None),
    (("points", 0, "curve"), []),
    (("points", 0, "at"), None),
    (("points", 0, "at", "tokens"), []),
    (("points", 0, "values"), None),
    (("points", 0, "values", "macs"), "many"),
    (("points",), {"a": 1}),
    (("points", 0, "at"), {}),
    (("points", 0, "curve"), "hydra"),
    (("points", 0, "values"), {"time": 1}),
    (("points", 0, "reason"), {}),
    (("points", 0, "timing"), {"spread": 0.1}),
    (("points", 0, "timing"), [1.5]),
    (("points", 0, "timing"), 0),
    (("measures", 0), "cost"),
    (("convention",), {}),
    (("units", "tokens"), []),
    (("versions", "vitprof"), None),
    (("spec", "dim"), {}),
    (("conditions",), {"spread": "[/]"}),
    (("conditions",), {"spread": "1/0"}),
    (("conditions",), {"spread": []}),
    (("crossovers", 0, "searched"), [4]),
    (("crossovers", 0, "fixed"), 1.5),
    (("crossovers", 0, "fixed"), {"heads": 1}),
    (("crossovers", 0, "measure"), "time"),
    (("crossovers", 0, "cheaper"), {"a": 1}),
    (("crossovers", 0, "option"), None),
    (("crossovers", 0, "at"), "8"),
    (("schema",), "vitprof/0"),
    (("command",), None),
]


@for_each("path, value", WRONG)
def test_a_part_of_another_type(path: tuple[str | int, ...], value: Any) -> None:
    document = copy.deepcopy(json.loads(written()))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValueError, match="no sweep"):
        Sweep.from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, '{"a":' * 100_000])
def test_a_file_without_a_sweep(capsys: Capture, tmp_path: Path, text: str) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(text, encoding="utf-8")
    sentence = said(capsys, *RESUMED, f"--output={file}")
    assert sentence == f"{file} holds no sweep to continue; give another file"
    assert file.read_text(encoding="utf-8") == text


def test_a_mark_in_front_of_json_is_read_over(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(written(), encoding="utf-8-sig")
    assert "the file holds another sweep" in said(capsys, *RESUMED, f"--output={file}")
