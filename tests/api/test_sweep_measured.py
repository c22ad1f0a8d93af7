"""Sweeps that measure time: interrupted, kept in a file, and resumed."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy
import pytest
from commands import Capture, changed, printed, said
from figures import composed

import vitprof
from vitprof import specify
from vitprof.api import timed
from vitprof.api.bench import BenchError
from vitprof.cli import run
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.measuring import timing
from vitprof.measuring.timing import Protocol, Timing
from vitprof.report.sweep import Sweep
from vitprof.request.workload import Workload

SMALL = ("sweep", "--tokens=4:16:x2", "--mixers=attn,lambda", "--dim=8", "--heads=2")
MEASURED = (*SMALL, "--measure", "--threads=1", "--budget=1")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A clock that records the models of each place, and interrupts the third."""
    asked: list[str] = []

    def time_steps(
        models: Mapping[str, Any], workload: Workload, *_: Any, **__: Any
    ) -> tuple[dict[str, Timing], dict[str, str]]:
        (tokens,) = {model.tokens for model in models.values()}
        asked.append(f"{','.join(models)} {tokens}")
        if len(asked) == 3:
            raise KeyboardInterrupt
        seconds = {name: tokens + place / 8 for place, name in enumerate(models)}
        return {name: Timing((time, time)) for name, time in seconds.items()}, {}

    monkeypatch.setattr(timed, "time_steps", time_steps)
    return asked


def test_interrupted_and_resumed(clock: list[str], tmp_path: Path, capsys: Capture) -> None:
    asked, file = clock, tmp_path / "sweep.json"
    words = (*MEASURED, "--y=macs", f"--output={file}")
    assert run(words) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"vitprof: 4 of 6 points are measured and saved in {file}; add --resume to continue\n"
        "vitprof: interrupted\n"
    )
    assert asked == ["attn,lambda 4", "attn,lambda 8", "attn,lambda 16"]
    begun = Sweep.from_json(file.read_text(encoding="utf-8"))
    assert [(point.curve, point.at["tokens"]) for point in begun.points] == [
        ("attn", 4),
        ("attn", 8),
        ("lambda", 4),
        ("lambda", 8),
    ]
    assert [point.values["time"] for point in begun.points] == [4.0, 8.0, 4.125, 8.125]

    # Without --resume the command keeps the file.
    assert said(capsys, *words) == (
        f"{file} exists, and measured times are not overwritten; add --resume to continue it, "
        "or give another file"
    )
    assert run([*words, "--resume"]) == 0
    assert asked[3:] == ["attn,lambda 16"]
    done = Sweep.from_json(file.read_text(encoding="utf-8"))
    assert len(done.points) == done.size == 6
    assert done.points[:2] + done.points[3:5] == begun.points
    assert done.points[-1].values == {
        "macs": specify("layer", mixer="lambda", options={"tokens": 16, "dim": 8, "heads": 2})
        .formula()
        .total(Measure.MACS),
        "time": 16.125,
    }
    # Once more: nothing is left to measure, and the file stays as it is.
    before = file.read_bytes()
    assert run([*words, "--resume"]) == 0
    assert len(asked) == 4
    assert file.read_bytes() == before


def test_interrupted_without_a_file(clock: list[str], capsys: Capture) -> None:
    assert run([*MEASURED, "--y=macs", "--format=csv"]) == 130
    out, err = capsys.readouterr()
    rows = [*csv.reader(StringIO(out))]
    timing = ["lower_quartile_seconds", "upper_quartile_seconds", "spread", "samples", "settled"]
    assert rows[0] == ["curve", "tokens", "macs", "time_seconds", *timing, "reason"]
    assert [row[0] + row[1] + " " + row[3] for row in rows[1:]] == [
        "attn4 4.0",
        "attn8 8.0",
        "lambda4 4.125",
        "lambda8 8.125",
    ]
    assert err == "vitprof: 4 of 6 points are measured\nvitprof: interrupted\n"


@pytest.mark.parametrize("suffix", ["txt", "md", "tex", "html", "csv", "parquet"])
def test_interrupted_in_a_format_that_cannot_be_resumed(
    suffix: str, clock: list[str], tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / f"sweep.{suffix}"
    assert run([*MEASURED, "--y=macs", f"--output={file}"]) == 130
    assert capsys.readouterr().err == (
        f"vitprof: 4 of 6 points are measured and saved in {file}\nvitprof: interrupted\n"
    )
    if suffix == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        assert parquet.read_table(file)["time_seconds"].to_pylist() == [4, 8, 4.125, 8.125]
        return
    text = file.read_text(encoding="utf-8")
    if suffix == "csv":
        assert [row[3] for row in csv.reader(StringIO(text))] == (
            ["time_seconds", "4.0", "8.0", "4.125", "8.125"]
        )
        return
    assert "after 4 of 6 points" in text
    assert all(time in text for time in ("4.00 s", "8.00 s", "4.12 s", "8.12 s"))
    assert "16" not in [cell for line in text.splitlines() for cell in line.split()[:1]]


def test_interrupted_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(timed, "time_steps", interrupted)
    assert run([*MEASURED, f"--output={tmp_path / 'sweep.json'}"]) == 130
    out, err = capsys.readouterr()
    assert (out, err) == ("", "vitprof: 0 of 6 points are measured\nvitprof: interrupted\n")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("--dim=16",), "the file holds another sweep, with dim 8 where this one has 16"),
        (
            ("--tokens=4,8",),
            "the file holds another sweep, with tokens 4 to 16 (3 values) where this one has "
            "4 to 8 (2 values)",
        ),
        (
            ("--mixers=attn,linear",),
            "the file holds another sweep, of attn and lambda where this one is of attn and linear",
        ),
        (
            ("--key-depth=3",),
            "the file holds another sweep, with lambda key depth 16, receptive field 9, positions "
            "local, intra depth 1 where this one has key depth 3, receptive field 9, positions "
            "local, intra depth 1",
        ),
        (
            ("--y=params",),
            "the file holds another sweep, of macs and time where this one is of params and time",
        ),
        (
            ("--dtype=bf16",),
            "the file holds another sweep, with dtype fp32 where this one has bf16",
        ),
        (("--batch=2",), "the file holds another sweep, with batch 1 where this one has 2"),
        (("--threads=2",), "the file holds another sweep, with threads 1 where this one has 2"),
        (
            ("--spread=0.5",),
            "the file holds another sweep, with spread 0.05 where this one has 0.5",
        ),
    ],
)
def test_another_sweep_is_not_resumed(
    change: tuple[str, ...],
    sentence: str,
    clock: list[str],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    asked, file = clock, tmp_path / "sweep.json"
    words = (*MEASURED, "--y=macs", f"--output={file}")
    run(words)
    capsys.readouterr()
    before, number = file.read_bytes(), len(asked)
    assert said(capsys, *changed(words, "--resume", *change)) == f"{sentence}; give another file"
    assert file.read_bytes() == before
    assert len(asked) == number


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("--gpu=v100-16",), "with budget bytes "),
        (("--gpu=rtx3090", "--torch=2.11"), "with torch 2.13 where this one has 2.11; give"),
    ],
)
def test_a_sweep_of_another_gpu_is_not_resumed(
    change: tuple[str, ...], sentence: str, clock: list[str], tmp_path: Path, capsys: Capture
) -> None:
    words = (*MEASURED, "--y=macs", f"--output={tmp_path / 'sweep.json'}")
    run([*words, "--gpu=rtx3090"])
    number = len(clock)
    capsys.readouterr()
    assert sentence in said(capsys, *changed(words, "--resume", *change))
    assert len(clock) == number


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "vitprof/2", "command": "sweep"}'])
def test_what_is_no_sweep_is_not_resumed(text: str, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(text, encoding="utf-8")
    sentence = said(capsys, *MEASURED, f"--output={file}", "--resume")
    assert sentence == f"{file} holds no sweep to continue; give another file"
    assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(("written", "other"), [("vitprof/2", "vitprof/1"), ("sweep", "compare")])
def test_a_file_of_another_kind_is_not_resumed(
    written: str, other: str, clock: list[str], tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "sweep.json"
    words = (*MEASURED, "--y=macs", f"--output={file}")
    run(words)
    capsys.readouterr()
    text = file.read_text(encoding="utf-8")
    assert text.count(f'": "{written}"') == 1
    file.write_text(text.replace(f'": "{written}"', f'": "{other}"'), encoding="utf-8")
    sentence = said(capsys, *words, "--resume")
    assert sentence == f"{file} holds no sweep to continue; give another file"


def test_versions_and_machine_are_conditions(
    clock: list[str], tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "sweep.json"
    words = (*MEASURED, "--y=macs", f"--output={file}")
    run(words)
    capsys.readouterr()
    text = file.read_text(encoding="utf-8")
    document = json.loads(text)
    for where, name in (("versions", "torch"), ("conditions", "device")):
        there = document[where][name]
        file.write_text(text.replace(json.dumps(there), '"another"'), encoding="utf-8")
        sentence = said(capsys, *words, "--resume")
        assert f"with {name} another where this one has {there}" in sentence


def test_a_step_that_cannot_be_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    def time_steps(models: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        if "lambda" in models and models["lambda"].tokens == 8:
            raise BenchError("lambda cannot be run at batch 1: out of memory")
        return {name: Timing((2.0, 2.0)) for name in models}, {}

    monkeypatch.setattr(timed, "time_steps", time_steps)
    file = tmp_path / "sweep.json"
    printed(capsys, *MEASURED, "--y=macs", f"--output={file}")
    points = Sweep.from_json(file.read_text(encoding="utf-8")).points
    assert [point.values["time"] for point in points] == [2.0, 2.0, 2.0, 2.0, None, 2.0]
    assert points[4].reason == "lambda cannot be run at batch 1: out of memory"
    assert points[4].values["macs"] is not None


UNSTEADY = {"attn": (1.0, 2.0, 3.0), "lambda": (4.0, 4.0, 4.0)}  # seconds


@pytest.fixture
def unsteady(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which attn settles at 4 and 8 tokens, and not at 16."""

    def time_steps(models: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        (tokens,) = {model.tokens for model in models.values()}
        found = UNSTEADY if tokens == 16 else dict.fromkeys(UNSTEADY, (2.0, 2.0))
        return {name: Timing(found[name]) for name in models}, {}

    monkeypatch.setattr(timed, "time_steps", time_steps)


@pytest.mark.usefixtures("unsteady")
def test_times_that_did_not_settle(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    file, figure = tmp_path / "sweep.json", tmp_path / "sweep.html"
    words = (*MEASURED, "--y=macs")
    sentence = "interquartile range over median: attn, tokens 16 50%"
    told = f"vitprof: 1 time did not settle to 5%, {sentence}; give a longer --budget\n"

    # Quartiles of 1, 2 and 3 s are 1.5 and 2.5 s.
    assert run([*words, f"--output={file}", f"--plot={figure}"]) == 0
    assert capsys.readouterr() == ("", told)
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["unsettled"] == {"attn, tokens 16": 0.5}
    assert document["points"][2]["timing"] == {
        "lower_quartile": 1.5,
        "median": 2.0,
        "upper_quartile": 2.5,
        "spread": 0.5,
        "samples": 3,
    }
    drawn = figure.read_text(encoding="utf-8")
    assert "did not settle: 1 of 6" in " ".join(drawn.split())
    assert drawn.count(sentence) == 1

    # A sweep that is read again has what the file has, and nothing is measured anew.
    assert run([*words, f"--output={file}", "--resume"]) == 0
    assert capsys.readouterr().err == told
    assert json.loads(file.read_text(encoding="utf-8")) == document

    assert run(words) == 0
    out, err = capsys.readouterr()
    assert err == told
    assert re.search(r"\n +8  2\.00 s  2\.00 s to 2\.00 s +2\.00 s  2\.00 s to 2\.00 s\n", out)
    assert re.search(r"\n +16  2\.00 s  1\.50 s to 2\.50 s \*  4\.00 s  4\.00 s to 4\.00 s\n", out)
    assert f"\nunsettled   * {sentence}\n" in out
    assert out.endswith("\n! unsettled: interquartile range over median above 5%\n\n")
    assert out.count("!") == 2  # one point, and the legend

    rows = [*csv.DictReader(StringIO(printed_with(told, capsys, *words, "--format=csv")))]
    assert rows[2]["lower_quartile_seconds"] == "1.5"
    assert rows[2]["upper_quartile_seconds"] == "2.5"
    assert [row["spread"] for row in rows] == ["0.0", "0.0", "0.5", "0.0", "0.0", "0.0"]
    assert [row["settled"] for row in rows] == [*["True"] * 2, "False", *["True"] * 3]
    assert {row["samples"] for row in rows} == {"2", "3"}


def printed_with(told: str, capsys: Capture, *words: str) -> str:
    """Run a command; return what it printed after checking what it told."""
    assert run(words) == 0
    out, err = capsys.readouterr()
    assert err == told
    return out


@pytest.mark.usefixtures("unsteady")
def test_times_that_settled(capsys: Capture) -> None:
    out = printed(capsys, *MEASURED, "--y=macs", "--spread=0.5")
    assert "unsettled" not in out
    assert "!" not in out
    assert "1.50 s to 2.50 s" in out


def test_a_figure_of_times(unsteady: None) -> None:
    swept = vitprof.sweep(
        "layer",
        mixers=["attn", "lambda"],
        measures=["macs"],
        measure=True,
        tokens="4:16:x2",
        dim=8,
        heads=2,
    )
    counts, times = composed(swept).axes
    lines = {str(line.get_label()): line for line in times.lines}
    assert numpy.asarray(lines["attn, unsettled"].get_xydata()).tolist() == [[16, 2]]
    assert "lambda, unsettled" not in lines
    ends = [numpy.asarray(line.get_data()).tolist() for line in times.lines]
    assert [y for x, y in ends if x == [16, 16]] == [[1.5, 2.5], [4.0, 4.0]]
    assert times.get_ylim()[0] <= 1.5
    assert not [line for line in counts.lines if "unsettled" in str(line.get_label())]


def test_the_file_is_whole_at_every_moment(tmp_path: Path) -> None:
    """A real process, interrupted by a real signal in the middle of its work."""
    file = tmp_path / "sweep.json"
    words = changed(MEASURED, "--mixers=attn", "--tokens=4:4096:x2", f"--output={file}")
    command = [sys.executable, "-m", "vitprof", *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        read = 0
        try:
            while read < 2 and process.poll() is None:
                if file.exists():
                    read = len(Sweep.from_json(file.read_text(encoding="utf-8")).points)
                time.sleep(0.002)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, err
    begun = Sweep.from_json(file.read_text(encoding="utf-8"))
    assert 2 <= len(begun.points) < begun.size == 11
    assert f"{len(begun.points)} of 11 points are measured and saved in {file}" in err
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.json"]


def test_measured_for_real(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "TURN", 0.001)
    document = json.loads(printed(capsys, *MEASURED, "--spread=9", "--inference", "--format=json"))
    times = [point["values"]["time"] for point in document["points"]]
    assert len(times) == 6
    assert all(0 < time < 1 for time in times)
    assert document["workload"]["device"] == "cpu"
    assert document["conditions"]["threads"] == "1"
    assert document["versions"]["torch"]


def test_a_measured_sweep_from_python_is_kept_and_resumed(clock: list[str]) -> None:
    kept: list[Sweep] = []
    over_tokens = partial(
        vitprof.sweep,
        "layer",
        mixers=["attn", "lambda"],
        measures=["macs"],
        measure=True,
        protocol=Protocol(threads=1, budget=1),
        tokens="4:16:x2",
        dim=8,
        heads=2,
    )
    begun = over_tokens(keep=kept.append)
    assert [len(so_far.points) for so_far in kept] == [2, 4]
    assert begun == kept[-1]
    assert [point.values["time"] for point in begun.points] == [4, 8, 4.125, 8.125]
    assert (begun.measures, begun.workload["device"]) == (("macs", "time"), "cpu")
    done = over_tokens(kept=begun)
    assert clock == ["attn,lambda 4", "attn,lambda 8", *["attn,lambda 16"] * 2]
    assert [point.values["time"] for point in done.points] == [4, 8, 16, 4.125, 8.125, 16.125]
    with pytest.raises(SpecError, match=r"another sweep, with batch 1 where this one has 2; give"):
        over_tokens(kept=begun, batch=2)
