"""Memory in several dtypes: each column is the report of its dtype alone."""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import Any

import pytest
from commands import Capture, printed, said
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import vitprof
from vitprof.errors import SpecError
from vitprof.report.document import Label, Table
from vitprof.report.memory import Memory
from vitprof.report.memory_by_dtype import MemoryByDtype
from vitprof.request.workload import Workload
from vitprof.values.amounts import Bytes

SMALL: dict[str, Any] = {"tokens": 7, "dim": 30, "heads": 5}
NAMES: dict[str, dict[str, Any]] = {
    "fp32": {"dtype": "fp32"},
    "bf16": {"dtype": "bf16"},
    "fp16": {"dtype": "fp16"},
    "bf16-autocast": {"dtype": "bf16", "autocast": True},
    "fp16-autocast": {"dtype": "fp16", "autocast": True},
}
STEPS: list[dict[str, Any]] = [{"inference": True}, {"optimizer": "sgd", "clip": True}, {}]


_SETTINGS = Workload.declared()


def alone(name: str, **options: Any) -> Memory:
    workload = Workload(**NAMES[name], **{k: options.pop(k) for k in [*options] if k in _SETTINGS})
    found: Memory = vitprof.memory("layer", trace=False, workload=workload, **options, **SMALL)
    return found


@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    names=st.lists(st.sampled_from(sorted(NAMES)), min_size=1, unique=True),
    batch=st.sampled_from([1, 40_000]),
    step=st.sampled_from(STEPS),
    budget=st.sampled_from([{}, {"memory": "1GiB"}, {"gpu": "rtx3090"}]),
)
def test_each_is_what_it_is_alone(
    names: list[str], batch: int, step: dict[str, Any], budget: dict[str, Any]
) -> None:
    options = {"batch": batch, **step, **budget}
    found = vitprof.memory("layer", dtype=names, trace=False, **options, **SMALL)
    wanted = {name: alone(name, **options) for name in names}
    document = json.loads(found.to_json())["dtypes"]
    for name, report in wanted.items():
        its = json.loads(report.to_json())
        assert its.items() >= {**document[name], "rows": its["rows"]}.items()
    rows = [*csv.DictReader(StringIO(found.to_csv()))]
    assert [row["dtype"] for row in rows] == names
    for row, report in zip(rows, wanted.values(), strict=True):
        check_row(row, report)
    check_table(found, wanted)


def check_row(row: dict[str, str], report: Memory) -> None:
    assert int(row["peak_bytes"]) == report.peak.bytes
    for phase, peak in report.phases.items():
        assert int(row[f"{phase}_bytes"]) == peak.bytes
    kinds = {kind: int(row.get(kind, 0)) for kind in report.peak.by_kind}
    assert kinds == report.peak.by_kind
    assert sum(kinds.values()) == report.peak.bytes
    assert int(row["kept_for_backward"]) == report.kept
    assert row["gpu_bytes"] == ("" if report.gpu is None else str(report.gpu.total))
    assert row["left_bytes"] == ("" if report.fits is None else str(report.fits.left))


def check_table(found: MemoryByDtype, wanted: dict[str, Memory]) -> None:
    (table,) = [element for element in found.document() if isinstance(element, Table)]
    assert [column.title for column in table.columns] == ["memory", *wanted]
    shown: dict[str, tuple[object, ...]] = {}
    for row in table.rows:
        label, *cells = row.cells
        assert isinstance(label, Label)
        shown.setdefault(label.name, tuple(cells))  # the optimizer is a phase, then a purpose
    reports = wanted.values()
    assert shown["peak"] == shown["held at the peak"] == tuple(one.peak.bytes for one in reports)
    for phase in next(iter(reports)).phases:
        assert shown[phase] == tuple(one.phases[phase].bytes for one in reports)
    for report, place in zip(reports, range(len(wanted)), strict=True):
        if report.fits is not None:
            title = f"fits {report.fits.budget.name}"
            assert shown[title][place] == ("yes" if report.fits.left >= 0 else "no")
            left = f"{'−' * (report.fits.left < 0)}{Bytes(abs(report.fits.left))}"
            assert shown["left"][place] == left
            # What would fit is told of a step that lacks memory, and of no other.
            line = f"- fits, {[*wanted][place]}: {report.facts['fits']}"
            assert (line in found.to_markdown()) is (report.fits.left < 0)


def test_a_trace_of_each() -> None:
    found = vitprof.memory("layer", dtype=("bf16", "fp32"), batch=2, **SMALL)
    assert found.complaint == ""
    for name, report in found.reports.items():
        assert report.beside is not None
        assert report.beside.complaint == ""
        assert report.phases == alone(name, batch=2).phases
    facts = found.reports["bf16"].facts
    assert facts["trace"] != found.reports["fp32"].facts["trace"]
    assert f"- trace, bf16: {facts['trace']}" in found.to_markdown()


def test_command_line(capsys: Capture) -> None:
    words = ("memory", "--model=layer", "--no-trace", "--batch=2", "--dim=30", "--heads=5")
    one = printed(capsys, *words, "--dtype=bf16", "--format=json")
    assert printed(capsys, *words, "--dtype=bf16,", "--format=json") == one
    cast = printed(capsys, *words, "--dtype=bf16", "--autocast", "--format=json")
    assert printed(capsys, *words, "--dtype=bf16-autocast", "--format=json") == cast
    assert Workload(dtype="bf16-autocast") == Workload(dtype="bf16", autocast=True)
    batch = ("batch-size", "--tokens=9", "--memory=1GiB", "--no-trace", "--format=json")
    largest = printed(capsys, *batch, "--dtype=bf16", "--autocast")
    assert printed(capsys, *batch, "--dtype=bf16-autocast") == largest
    both = json.loads(printed(capsys, *words, "--dtype=bf16,bf16-autocast", "--format=json"))
    assert [*both["dtypes"]] == ["bf16", "bf16-autocast"]
    for name, text in (("bf16", one), ("bf16-autocast", cast)):
        alone = json.loads(text)
        assert both["dtypes"][name]["phases"] == alone["phases"]
        assert both["dtypes"][name]["held"] == alone["held"]


REFUSED = {
    "--dtype=fp32,fp64": "dtype can be fp32, bf16, fp16, bf16-autocast or fp16-autocast, not ",
    "--dtype=fp32,bf16,fp32": "the dtype fp32 is named twice; name it once",
    "--dtype=,": "no dtype is named; name some of fp32, bf16, fp16, ",
    "--dtype=fp32,bf16 --autocast": "autocast is part of a dtype's name where there are several; ",
    "--dtype=fp32,bf16 --levels=2": "levels has no effect with several dtypes, ",
    "--dtype=fp32,bf16 --fold": "fold has no effect with several dtypes, ",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_refused(capsys: Capture, words: str) -> None:
    sentence = said(capsys, "memory", "--model=layer", "--no-trace", *words.split())
    assert sentence.startswith(REFUSED[words])


def test_a_workload_has_one_dtype() -> None:
    with pytest.raises(SpecError, match="a workload has one dtype; give its settings by name"):
        vitprof.memory("layer", dtype=["fp32"], workload=Workload())
