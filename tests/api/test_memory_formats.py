"""The memory of a step as a table, in Markdown and CSV, and in files."""

from __future__ import annotations

import csv
import re
from io import StringIO
from pathlib import Path

import pytest
from commands import Capture
from memory_command import DEEP, KEPT, SMALL, E, document, printed, unwrapped

from vitprof.api import memory as footprint
from vitprof.request.workload import Workload


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--mixer=lambda", "--batch=64"),
        ("--model=classifier", "--mixer=linear", "--checkpoint", "--batch=4096"),
        (*SMALL, "--dtype=bf16", "--autocast"),
        (*DEEP, "--full"),
        ("--inference", "--mixer=linear"),
    ],
)
def test_table_fits_a_terminal(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = printed(capsys, *words, "--no-trace")
    assert max(map(len, table.splitlines())) <= 80
    assert not any(line.endswith(" ") for line in table.splitlines())


def test_table_shows_large_sizes_for_people(capsys: Capture) -> None:
    table = printed(capsys, "--batch=64", "--no-trace")
    report = footprint.memory(workload=Workload(batch=64), trace=False)
    peak = f"{report.peak.bytes / 2**30:,.2f} GiB"
    assert re.search(rf"^peak +{peak}, in the backward pass, at \S+$", table, re.MULTILINE)
    assert re.search(r"^parameters +\d+\.\d MiB  parameters × 4$", table, re.MULTILINE)
    assert re.search(r"blocks\.0-11 ×12 .*MiB", table)
    assert re.search(r"^all .*GiB$", table, re.MULTILINE)
    assert "Memory of a training step of mae with attn, batch 64" in table
    assert "of one" in table  # the column of one of the equal layers


def test_table_says_what_the_trace_says(capsys: Capture) -> None:
    said = unwrapped(printed(capsys, *SMALL))
    assert "on fake tensors, by formula the same to the byte; eager PyTorch holds" in said
    assert "48 bytes less, since the optimizer's counts of steps lie in the CPU's memory" in said
    sgd = unwrapped(printed(capsys, *SMALL, "--optimizer=sgd"))
    assert "on fake tensors, the same to the byte" in sgd


def test_phases_that_are_highest(capsys: Capture) -> None:
    assert "in the backward pass, at mlp.act" in unwrapped(printed(capsys, *SMALL, "--no-trace"))
    heavy = ("--model=classifier", "--batch=1", "--image-size=8", "--no-trace")
    assert "in the step of the optimizer" in unwrapped(printed(capsys, *heavy))
    inference = printed(capsys, *SMALL, "--no-trace", "--inference")
    assert "Memory of inference of layer with attn, batch 3" in inference
    assert re.search(r"^phases +forward [\d,]+ bytes$", inference, re.MULTILINE)
    assert re.search(r"^peak .*in the forward pass, at mixer.fc_out$", inference, re.MULTILINE)


def test_csv(capsys: Capture) -> None:
    for words in (SMALL, DEEP):
        text = printed(capsys, *words, "--no-trace", "--format=csv")
        header, *rows = csv.reader(StringIO(text), strict=True)
        assert header == ["path", "type", "repeat", "formula", "numbers", "each", "bytes"]
        said = document(capsys, *words, "--no-trace")
        assert rows == [[str(cell) for cell in row.values()] for row in said["rows"]]
        assert sum(int(row[-1]) for row in rows) == said["totals"]["kept_for_backward"]


def test_fold_and_levels(capsys: Capture) -> None:
    def paths(*words: str) -> list[str]:
        text = printed(capsys, *DEEP, "--no-trace", "--format=csv", *words)
        return [row[0] for row in csv.reader(StringIO(text))][1:]

    full, folded = paths(), paths("--fold")
    assert "blocks.4.mlp.act" in full
    assert "blocks.0-4.mlp.act" in folded
    assert len(full) - len(folded) == 4 * len([path for path in folded if "0-4" in path])
    assert paths("--fold", "--levels=1")[-3:] == ["norm", "head", "loss"]
    assert "blocks" in paths("--levels=1")
    people = printed(capsys, *DEEP, "--no-trace")
    assert people == printed(capsys, *DEEP, "--no-trace", "--fold")
    assert people != printed(capsys, *DEEP, "--no-trace", "--full")


def test_markdown(capsys: Capture) -> None:
    text = printed(capsys, *SMALL, "--no-trace", "--format=markdown")
    lines = text.splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    assert cells[0] == ["kept for the backward pass", "memory", "bytes, by formula"]
    assert ["held at the peak", "memory", "bytes, by formula"] in cells
    assert ["mlp.act", f"{3 * 11 * 48 * 4:,} bytes", "B × N × hidden × 4"] in cells
    kept = sum(E * elements for elements in KEPT.values())
    assert ["**all**", f"**{kept:,} bytes**", ""] in cells
    assert any(line.startswith("- peak: ") for line in lines)
    assert any(line.startswith("- convention: memory is the tensors") for line in lines)


@pytest.mark.parametrize(
    "name", ["report.md", "report.tex", "report.html", "report.csv", "report.json"]
)
def test_suffix_chooses_the_format(capsys: Capture, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    assert printed(capsys, *SMALL, "--no-trace", "--output", file) == ""
    suffix = file.suffix[1:]
    named = {"md": "markdown", "tex": "latex"}.get(suffix, suffix)
    on_stdout = printed(capsys, *SMALL, "--no-trace", "--format", named)
    assert file.read_text(encoding="utf-8") == on_stdout
