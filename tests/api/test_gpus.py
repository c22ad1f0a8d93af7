"""`vitprof gpus`: the table, one GPU with its sources, and names of several."""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import Any

import pytest

import vitprof
from vitprof.cli import run
from vitprof.cuda.gpus import gpus as table
from vitprof.errors import SpecError

Capture = pytest.CaptureFixture[str]


def printed(capsys: Capture, *words: str) -> str:
    assert run(["gpus", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def document(capsys: Capture, *words: str) -> Any:
    return json.loads(printed(capsys, *words, "--format=json"))


def test_table_has_every_gpu(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = printed(capsys).splitlines()
    for gpu in table():
        assert len([line for line in lines if line.startswith(f"{gpu.name}  ")]) == 1
    (of_3090,) = [line.split("  ") for line in lines if line.startswith("GeForce RTX 3090  ")]
    cells = [cell.strip() for cell in of_3090 if cell]
    # Compute capability 8.6, 82 multiprocessors, 936 GB/s; TFLOP/s of the whitepaper.
    assert cells == ["GeForce RTX 3090", "3090", "23.56 GiB", "8.6", "82", "936", "35.6", "71.2"]
    assert "peaks are dense products" in lines[-1]


def test_no_peak_is_an_empty_cell(capsys: Capture) -> None:
    """Turing has no bf16."""
    (header, row) = csv.reader(StringIO(printed(capsys, "t4", "--format=csv")), strict=True)
    found = dict(zip(header, row, strict=True))
    assert (found["name"], found["capability"]) == ("Tesla T4", "7.5")
    assert (found["fp32_tflops"], found["fp16_tflops"]) == ("8.1", "65.0")
    assert (found["bf16_tflops"], found["fp8_tflops"]) == ("", "")


def test_csv_has_a_row_a_gpu(capsys: Capture) -> None:
    header, *rows = csv.reader(StringIO(printed(capsys, "--format=csv")), strict=True)
    assert [row[0] for row in rows] == [gpu.name for gpu in table()]
    named = [dict(zip(header, row, strict=True)) for row in rows]
    (h100,) = [row for row in named if row["name"] == "H100 SXM5 80GB"]
    assert "h100" in h100["names"].split(", ")
    assert h100["memory_gib"] == "80.0"
    assert h100["memory_bytes"] == str(81_079 * 2**20)  # MiB that the driver showed
    assert h100["context_bytes"] == "927793152"  # measured: see tests/data/h100
    assert (h100["multiprocessors"], h100["bf16_tflops"]) == ("132", "989.4")


def test_json(capsys: Capture) -> None:
    said = document(capsys)
    assert [*said] == ["schema", "command", "gpus"]
    assert (said["schema"], said["command"]) == ("vitprof/2", "gpus")
    assert [gpu["name"] for gpu in said["gpus"]] == [gpu.name for gpu in table()]
    one = document(capsys, "h100")["gpu"]
    assert one in said["gpus"]
    assert one["name"] == "H100 SXM5 80GB"
    assert one["context"] == 927_793_152
    assert all(one[name] for name in ("memory_source", "context_source", "sources", "sure"))


def test_one_gpu_with_its_sources(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    first, *lines = printed(capsys, "RTX 3090").splitlines()
    assert first == "GeForce RTX 3090  Ampere"
    end = lines.index("")
    facts = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[:end]}
    assert facts["names"] == "3090, rtx3090"
    assert facts["memory"].startswith("23.56 GiB of 24 GiB (torch 2.13+cu130: ")
    # Nobody has measured its context, so the largest of an H100 is taken.
    assert facts["context"] == "884.8 MiB (not measured: the largest that an H100 showed)"
    assert facts["sure"] == "two sources"
    assert "whitepaper" in facts["sources"]
    assert lines[end + 1] == "Speed of steps"
    assert "not measured: peaks of the table, with the shares and the host of an H100" in lines[-1]


def test_the_speed_of_the_gpu_that_was_measured(capsys: Capture) -> None:
    said = document(capsys, "h100")["speed"]
    assert said["measured"] is True
    assert said["copy"] == 3.02e12
    assert said["host"]["function"] == pytest.approx(10e-6)


def test_memory_that_nobody_has_said_is_called_an_estimate(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    said = printed(capsys, "rtxa4500")
    assert (
        "19.55 GiB of 20 GiB (estimated: the data sheet less what drivers of others keep)" in said
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a100", "'a100' is the name of several GPUs; give a100-40 or a100-80"),
        ("V100", "'V100' is the name of several GPUs; give v100-16 or v100-32"),
        (
            "rtx6000",
            "'rtx6000' is the name of several GPUs; give quadrortx6000, rtx6000ada or rtxpro6000",
        ),
        (
            "rtx309",
            "there is no GPU 'rtx309'; did you mean rtx3090 or rtx3090ti? vitprof gpus lists",
        ),
    ],
)
def test_names_that_are_not_of_one_gpu(capsys: Capture, name: str, sentence: str) -> None:
    assert run(["gpus", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"vitprof: {sentence}")
    assert err.count("\n") == 1


def test_function() -> None:
    every, one = vitprof.gpus(), vitprof.gpus("l40s")
    assert json.loads(every.to_json())["gpus"][0]["name"] == table()[0].name
    assert json.loads(one.to_json())["gpu"]["name"] == "L40S"
    with pytest.raises(SpecError, match="several GPUs; give a100-40 or a100-80"):
        vitprof.gpus("a100")


def test_a_pattern_lists_those_that_match() -> None:
    def listed(pattern: str) -> list[str]:
        return [gpu["name"] for gpu in json.loads(vitprof.gpus(pattern).to_json())["gpus"]]

    assert listed("V100*") == [gpu.name for gpu in table() if "V100" in gpu.name]
    assert listed("rtx 309?") == ["GeForce RTX 3090"]
    with pytest.raises(SpecError, match=r"none of the \d+ GPUs matches 'v99\*'; give \* for any"):
        vitprof.gpus("v99*")


def test_choices_are_names_of_the_table() -> None:
    for name in ("a100-40", "a100-80", "v100-16", "v100-32"):
        found = vitprof.gpus(name)
        assert json.loads(found.to_json())["gpu"]["memory"] == int(name.rpartition("-")[2])
