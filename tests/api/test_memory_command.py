"""`vitprof memory`: what it prints and refuses, and the report behind it."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from shlex import split
from typing import Any

import pytest

from vitprof.allocation.allocator import replay
from vitprof.allocation.step import memory
from vitprof.allocation.timeline import KINDS
from vitprof.api import memory as footprint
from vitprof.cli import run
from vitprof.errors import SpecError
from vitprof.report.memory import Memory
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.trace import trace

Capture = pytest.CaptureFixture[str]

SMALL = ("--tokens=11", "--dim=12", "--heads=3", "--batch=3")
DEEP = ("--model=classifier", "--depth=5", "--image-size=8", "--batch=3")
KIB, MIB = 2**10, 2**20
B, N, D, h, H = 3, 11, 12, 3, 4 * 12  # of SMALL
E = 4
KEPT = {  # elements that each layer of SMALL keeps for the backward pass
    "norm1": B * N * 2,
    "mixer.qkv": B * N * D,
    "mixer.scores": B * N * 2 * D,
    "mixer.weights": B * h * N * N,
    "mixer.output": B * N * D,
    "mixer.fc_out": B * N * D,
    "norm2": B * N * D + B * N * 2,
    "mlp.fc1": B * N * D,
    "mlp.act": B * N * H,
}


def printed(capsys: Capture, *words: str | Path, code: int = 0) -> str:
    assert run(["memory", *map(str, words)]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out


def document(capsys: Capture, *words: str) -> Any:
    return json.loads(printed(capsys, *words, "--format=json"))


def unwrapped(table: str) -> str:
    """What a table says, in one line."""
    return " ".join(table.split())


# JSON


def test_json(capsys: Capture) -> None:
    said = document(capsys, *SMALL)
    assert [*said] == [
        *("schema", "command", "spec", "workload", "versions", "convention"),
        *("totals", "phases", "trace", "gpu", "held", "rows"),
    ]
    assert (said["schema"], said["command"]) == ("vitprof/2", "memory")
    assert (said["spec"]["model"], said["spec"]["tokens"]) == ("layer", N)
    assert said["workload"] == Workload(batch=B).values()
    assert said["workload"]["device"] == "cuda"
    assert [*said["versions"]] == ["vitprof", "python", "torch"]
    found = memory(specify("layer", options={"tokens": N, "dim": D, "heads": h}), Workload(batch=B))
    assert said["totals"] == {
        "peak_bytes": found.peak.bytes,
        "phase": found.phase,
        "layer": found.peak.at,
        **found.peak.by_kind,
        "kept_for_backward": found.kept_bytes,
    }
    assert said["totals"].keys() >= {*KINDS}
    assert [*said["phases"]] == ["forward", "backward", "optimizer"]
    for name, phase in said["phases"].items():
        peak = found.peaks[name]
        assert phase == {"peak_bytes": peak.bytes, "layer": peak.at, **peak.by_kind}
        assert sum(phase[kind] for kind in KINDS) == phase["peak_bytes"]
    # A trace knows one memory, in which the counts of steps of 12 tensors lie, too.
    traced = {name: peak.bytes + 12 * 4 for name, peak in found.peaks.items()}
    counts = {"the optimizer's counts of steps lie in the CPU's memory": -12 * 4}
    assert said["trace"] == {
        "peak_bytes": found.peak.bytes + 12 * 4,
        "phases": traced,
        "formula": traced,
        "apart": dict.fromkeys(found.peaks, counts),
    }


def test_json_parts_add_up(capsys: Capture) -> None:
    for words in (SMALL, (*DEEP, "--checkpoint"), (*DEEP, "--fold"), ("--depth=3", "--inference")):
        said = document(capsys, *words, "--no-trace")
        assert sum(row["bytes"] for row in said["rows"]) == said["totals"]["kept_for_backward"]
        assert all(row["each"] * row["repeat"] == row["bytes"] for row in said["rows"])
        assert sum(held["bytes"] for held in said["held"]) == said["totals"]["peak_bytes"]
        for kind in KINDS:
            own = [held["bytes"] for held in said["held"] if held["kind"] == kind]
            assert sum(own) == said["totals"][kind]
            assert kind == "temporaries" or len(own) <= 1


def test_json_rows_by_hand(capsys: Capture) -> None:
    rows = {row["path"]: row for row in document(capsys, *SMALL, "--no-trace")["rows"]}
    assert {path: row["bytes"] for path, row in rows.items()} == {
        path: E * elements for path, elements in KEPT.items()
    }
    assert rows["mlp.act"] == {
        "path": "mlp.act",
        "type": "ReLU",
        "repeat": 1,
        "formula": "B × N × hidden × 4",
        "numbers": "3 × 11 × 48 × 4",
        "each": 3 * 11 * 48 * 4,
        "bytes": 3 * 11 * 48 * 4,
    }


def test_json_held_by_hand(capsys: Capture) -> None:
    held = document(capsys, *SMALL, "--no-trace", "--optimizer=sgd")["held"]
    weights = (D + D) + (3 * D * D + 3 * D) + (D * D + D) + (D + D) + (D * H + H) + (H * D + D)
    assert held[0] == {
        "kind": "parameters",
        "path": "",
        "formula": "parameters × 4",
        "numbers": f"{weights} × 4",
        "bytes": E * weights,
    }
    apart = [(part["path"], part["bytes"]) for part in held if part["kind"] == "temporaries"]
    # The loss and its gradient, that of the output, of fc2's input and of fc1's output.
    assert apart == [
        ("loss", E),
        ("loss", E),
        ("loss", E * B * N * D),
        ("mlp.fc2", E * B * N * H),
        ("mlp.act", E * B * N * H),
    ]
    summed = {part["kind"]: part for part in held if part["kind"] != "temporaries"}
    assert [*summed] == ["parameters", "gradients", "inputs", "saved"]  # what there is any of
    assert summed["gradients"]["bytes"] == E * (H * D + D)  # fc2's


def test_no_trace(capsys: Capture) -> None:
    said = document(capsys, *SMALL, "--no-trace")
    assert (said["trace"], said["gpu"]) == (None, None)
    assert [*said["versions"]] == ["vitprof", "python"]
    assert "--trace runs a real step" in unwrapped(printed(capsys, *SMALL, "--no-trace"))
    traced = document(capsys, *SMALL)
    assert traced["totals"] == said["totals"]
    assert traced["rows"] == said["rows"]


# The GPU


def test_gpu(capsys: Capture) -> None:
    said = document(capsys, *SMALL)
    gpu = said["gpu"]
    assert [*gpu] == ["allocated", "reserved", "workspaces", "context", "total"]
    assert all(type(size) is int for size in gpu.values())
    assert gpu["total"] == gpu["reserved"] + gpu["workspaces"] + gpu["context"]
    traced = trace(specify("layer", options={"tokens": N, "dim": D, "heads": h}), Workload(batch=B))
    segments = replay(traced.events)
    assert gpu["allocated"] == segments.allocated_bytes > said["totals"]["peak_bytes"]
    assert gpu["reserved"] == segments.reserved_bytes == 2 * MIB
    # A handle of cuBLAS for the forward pass, and one for autograd's thread.
    assert gpu["workspaces"] == 2 * (2 * 4096 + 8 * 16) * KIB
    assert gpu["context"] == 290 * 10**6


def test_gpu_is_told_what_it_takes(capsys: Capture) -> None:
    given = ("--workspace=32MiB", "--context=0.5GB")
    gpu = document(capsys, *SMALL, *given)["gpu"]
    assert (gpu["workspaces"], gpu["context"]) == (2 * 32 * MIB, 500 * 10**6)
    inference = document(capsys, *SMALL, *given, "--inference")["gpu"]
    assert inference["workspaces"] == 32 * MIB


def test_cpu_is_no_gpu(capsys: Capture) -> None:
    said = document(capsys, *SMALL, "--device=cpu")
    assert said["gpu"] is None
    # Of the scale of attention, a CPU keeps a number of 8 bytes.
    assert said["trace"]["peak_bytes"] == said["totals"]["peak_bytes"] - 8
    assert "on a GPU" not in printed(capsys, *SMALL, "--device=cpu")


# Table, Markdown, CSV


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
    # The driver's, PyTorch's and cuBLAS's.
    total = (2 * MIB + 2 * 8320 * KIB + 290 * 10**6) / MIB
    assert f"on a GPU {total:.1f} MiB: segments 2.0 MiB for tensors of" in said
    assert "cuBLAS workspaces 16.2 MiB, CUDA context 276.6 MiB" in said


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


# What is refused


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--optimizer rmsprop", "optimizer can be sgd, momentum, adam or adamw, not 'rmsprop'"),
        ("--batch 0", "batch 0 is out of range; give a whole number from 1 to"),
        ("--batch many", "batch many is not a whole number"),
        ("--dtype int8", "dtype can be fp32, bf16 or fp16, not 'int8'"),
        ("--autocast", "autocast to fp32 changes nothing; give dtype bf16 or fp16"),
        ("--autocast --dtype fp32", "autocast to fp32 changes nothing"),
        ("--context 12parsec", "context '12parsec' is no size of memory.*such as 24GiB"),
        ("--context 0", "context '0' is no memory at all"),
        ("--workspace lots", "workspace 'lots' is no size of memory"),
        ("--inference --checkpoint", "inference keeps nothing to checkpoint"),
        ("--device tpu", "device can be cuda or cpu, not 'tpu'"),
        ("--kernel triton", "kernel can be foreach, fused or loop, not 'triton'"),
        ("--mixer lamda", "'lamda'.*did you mean lambda"),
        ("--dim 10 --heads 3", "dim 10 .*3 heads"),
        ("--levels 0", "levels 0 .*from 1 to"),
        ("--format yaml", "yaml"),
        ("--output report.xls", r"'report\.xls'"),
        ("--counters analytic", "--counters"),
    ],
)
def test_bad_request(capsys: Capture, line: str, sentence: str) -> None:
    assert run(["memory", "--no-trace", *split(line)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.fullmatch(rf"vitprof: .*{sentence}.*\n", err)


def test_function_refuses_an_unknown_option() -> None:
    with pytest.raises(SpecError, match="bach"):
        footprint.memory("layer", bach=3, trace=False)
    with pytest.raises(SpecError, match="autocast to fp32"):
        footprint.memory("layer", autocast=True, trace=False)


def test_function_takes_options_of_all_kinds() -> None:
    said: list[str] = []
    report = footprint.memory(
        *("layer",),
        mixer="lambda",
        batch=3,
        tokens=11,
        dim=12,
        heads=3,
        key_depth=5,
        say=said.append,
    )
    assert isinstance(report, Memory)
    assert said == ["tracing a step on fake tensors"]
    assert (report.workload["batch"], report.spec["key_depth"]) == (3, 5)
    assert report.beside is not None
    assert report.beside.complaint == ""
    same = footprint.memory(
        specify(
            "layer", mixer="lambda", options={"tokens": 11, "dim": 12, "heads": 3, "key_depth": 5}
        ),
        Workload(batch=3),
        trace=False,
    )
    assert (same.phases, same.tree, same.held) == (report.phases, report.tree, report.held)


# A formula that is wrong


def test_formula_that_is_off_the_trace(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    model = specify("layer", options={"tokens": N, "dim": D, "heads": h})
    honest = trace(model, Workload(batch=B))
    said = {**honest.by_phase, "backward": honest.by_phase["backward"] + 1}
    wrong = type(honest)(by_phase=said, levels=honest.levels, functions={}, events=honest.events)
    monkeypatch.setattr(footprint, "trace_step", lambda model, workload: wrong)
    code = run(["memory", *SMALL, "--format=csv"])
    out, err = capsys.readouterr()
    assert code == 1
    assert out.startswith("path,type,")
    sentence = (
        f"in the backward phase the formula says {said['backward'] - 1:,} bytes and the trace "
        f"{said['backward']:,}, which have to be equal; please report it"
    )
    assert err == f"vitprof: {sentence}\n"
    assert sentence in unwrapped(printed(capsys, *SMALL, code=1))


# What is loaded


@pytest.mark.parametrize("format", ["csv", "json", "table"])
def test_nothing_heavy_is_loaded_on_paper(format: str) -> None:
    code = (
        "import sys; from vitprof.cli import run; assert run(sys.argv[1:]) == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    words = ("memory", "--no-trace", "--format", format)
    ended = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names = {*ended.stderr.split()}
    assert "vitprof.allocation.step" in names
    heavy = {"torch", "torchinfo", "fvcore", "pandas", "numpy", "sympy", "tabulate"}
    assert names & (heavy | {"vitprof.modules", "vitprof.running.trace"}) == set()
    assert ("rich.table" in names) is (format == "table")
