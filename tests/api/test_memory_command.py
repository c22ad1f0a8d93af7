"""`vitprof memory`: its output, its errors, and its report."""

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
import torch

from vitprof.allocation.step import memory
from vitprof.allocation.timeline import KINDS
from vitprof.api import memory as footprint
from vitprof.cli import run
from vitprof.errors import SpecError
from vitprof.report.memory import Memory
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running import measure
from vitprof.running.measure import MeasuredStep
from vitprof.running.trace import trace

Capture = pytest.CaptureFixture[str]

SMALL = ("--tokens=11", "--dim=12", "--heads=3", "--batch=3")
LARGE = ("--tokens=1024", "--dim=192", "--heads=3")
DEEP = ("--model=classifier", "--depth=5", "--image-size=8", "--batch=3")
MIB, GIB = 2**20, 2**30
CUBLAS = 8_519_680  # bytes of a workspace, two of 4,096 KiB and eight of 16 KiB
CONTEXT_OF_3090 = 927_793_152  # not measured: the largest that an H100 showed
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
    """Return the text of a table as one line."""
    return " ".join(table.split())


# JSON


def test_json(capsys: Capture) -> None:
    said = document(capsys, *SMALL)
    assert [*said] == [
        *("schema", "command", "spec", "workload", "versions", "convention"),
        *("totals", "phases", "trace", "gpu", "fits", "measured", "held", "rows"),
    ]
    assert (said["gpu"], said["fits"], said["measured"]) == (None, None, None)
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
    assert said["trace"] is None
    assert [*said["versions"]] == ["vitprof", "python"]
    assert "--trace runs a real step" in unwrapped(printed(capsys, *SMALL, "--no-trace"))
    traced = document(capsys, *SMALL)
    assert traced["totals"] == said["totals"]
    assert traced["rows"] == said["rows"]


# The GPU


def test_gpu(capsys: Capture) -> None:
    said = document(capsys, *SMALL, "--gpu=rtx3090", "--no-trace")
    gpu = said["gpu"]
    assert [*gpu] == [
        *("name", "torch", "allocated", "reserved", "context", "context_source"),
        *("convolution", "workspace", "total"),
    ]
    assert (gpu["name"], gpu["torch"]) == ("GeForce RTX 3090", "2.13")
    assert (gpu["convolution"], gpu["workspace"]) == ("", 0)  # there is none in a layer
    # A workspace of cuBLAS for the forward pass and one for autograd's thread share a segment of
    # 20 MiB; all tensors are in one of 2 MiB.
    assert gpu["reserved"] == (20 + 2) * MIB
    assert gpu["context"] == CONTEXT_OF_3090
    assert gpu["total"] == gpu["reserved"] + gpu["context"]
    assert [*gpu["allocated"]] == ["forward", "backward", "optimizer"]
    for phase, size in gpu["allocated"].items():
        blocks = size - 2 * CUBLAS
        assert blocks % 512 == 0
        held = said["phases"][phase]["peak_bytes"]
        assert held < blocks < held + 512 * 100


def test_gpu_in_inference_has_one_workspace(capsys: Capture) -> None:
    gpu = document(capsys, *SMALL, "--gpu=rtx3090", "--inference", "--no-trace")["gpu"]
    assert [*gpu["allocated"]] == ["forward"]
    assert CUBLAS < gpu["allocated"]["forward"] < CUBLAS + 2 * MIB
    assert gpu["reserved"] == (20 + 2) * MIB


@pytest.mark.parametrize(
    # On compute capability 9 a workspace is of 32 MiB; before 2.0 PyTorch's allocator has none.
    ("torch", "segments"),
    [("2.11", 2 * 32 + 2), ("1.13.1", 2)],
)
def test_gpu_with_a_version_of_pytorch(capsys: Capture, torch: str, segments: int) -> None:
    said = document(capsys, *SMALL, "--gpu=h100", f"--torch={torch}", "--no-trace")
    assert said["gpu"]["name"] == "H100 SXM5 80GB"
    assert said["gpu"]["torch"] == torch.removesuffix(".1")
    assert said["gpu"]["reserved"] == segments * MIB
    assert said["gpu"]["context"] == 927_793_152  # measured: see tests/data/h100


def test_gpu_is_what_an_h100_showed(capsys: Capture) -> None:
    """A row of tests/data/h100: bytes of `max_memory_allocated`."""
    said = document(capsys, "--batch=10", "--gpu=h100", "--torch=2.11", "--no-trace")
    measured = {"forward": 9_561_936_384, "backward": 10_854_901_760, "optimizer": 634_217_984}
    assert said["gpu"]["allocated"].keys() == measured.keys()
    for phase, size in measured.items():
        assert abs(said["gpu"]["allocated"][phase] - size) <= 0.005 * size


def test_table_of_a_gpu(capsys: Capture) -> None:
    said = unwrapped(printed(capsys, *SMALL, "--gpu=rtx3090", "--no-trace"))
    total = (22 * MIB + CONTEXT_OF_3090) / MIB
    assert f"on the GPU {total:.1f} MiB on GeForce RTX 3090 with torch 2.13: 22.0 MiB" in said
    assert (
        "reserved, of which allocated at most in forward 16.3 MiB, backward 16.3 MiB, "
        "optimizer 16.3 MiB; and the CUDA context, 884.8 MiB"
    ) in said
    assert "884.8 MiB (not measured: the largest that an H100 showed)" in said
    assert "on the GPU" not in printed(capsys, *SMALL, "--no-trace")


def test_a_cpu_is_no_gpu(capsys: Capture) -> None:
    said = document(capsys, *SMALL, "--device=cpu")
    assert said["gpu"] is None
    # Of the scale of attention, a CPU keeps a number of 8 bytes.
    assert said["trace"]["peak_bytes"] == said["totals"]["peak_bytes"] - 8


# Whether it fits


def test_fits_to_the_byte(capsys: Capture) -> None:
    words = ("--model=classifier", "--batch=300", "--no-trace")
    peak = document(capsys, *words)["totals"]["peak_bytes"]
    enough = document(capsys, *words, f"--memory={peak}B")["fits"]
    assert enough == {"budget_bytes": peak, "takes": peak, "left": 0, "changes": []}
    short = document(capsys, *words, f"--memory={peak - 1}B")["fits"]
    assert (short["takes"], short["left"]) == (peak, -1)
    assert short["changes"][0]["option"] == "--checkpoint"


@pytest.mark.parametrize(
    ("words", "budget"),
    [(("--model=classifier", "--depth=5"), "--memory=60MB"), (LARGE, "--gpu=rtx3090")],
    ids=["memory", "gpu"],
)
def test_what_would_make_it_fit(capsys: Capture, words: tuple[str, ...], budget: str) -> None:
    """Each change fits and takes what is said; of a batch, one image more does not fit."""
    batch = 1500
    given = (*words, budget, "--no-trace")
    said = document(capsys, *given, f"--batch={batch}")["fits"]
    assert said["left"] == said["budget_bytes"] - said["takes"] < 0
    ways = {change["option"]: change["bytes"] for change in said["changes"]}
    assert any(way.startswith("--batch") for way in ways)
    assert len(ways) >= 4
    for way, size in ways.items():
        own, number = way, batch
        if way.startswith("--batch"):
            _, word, *others = way.split()
            own, number = " ".join(others), int(word)
            more = document(capsys, *given, *own.split(), f"--batch={number + 1}")["fits"]
            assert more["left"] < 0
        fits = document(capsys, *given, *own.split(), f"--batch={number}")["fits"]
        assert (fits["takes"], fits["changes"]) == (size, [])
        assert 0 <= fits["left"] == said["budget_bytes"] - size


@pytest.mark.parametrize(
    ("words", "ways"),
    [
        (
            (),
            {"", "--checkpoint", "--dtype bf16 --autocast", "--checkpoint --dtype bf16 --autocast"},
        ),
        (("--checkpoint",), {"", "--dtype bf16 --autocast"}),
        (("--dtype=bf16", "--autocast"), {"", "--checkpoint"}),
        (("--inference",), {"", "--dtype bf16 --autocast"}),
        (("--inference", "--dtype=bf16"), {""}),
    ],
)
def test_changes_are_of_what_is_not_given_yet(
    capsys: Capture, words: tuple[str, ...], ways: set[str]
) -> None:
    """With 10,000 images nothing fits but fewer of them."""
    given = ("--model=classifier", "--batch=10000", "--memory=20MB", "--no-trace")
    changes = document(capsys, *given, *words)["fits"]["changes"]
    options = [re.fullmatch(r"--batch \d+ ?(.*)", change["option"]) for change in changes]
    assert [option is None for option in options] == [False] * len(ways)
    assert {option[1] for option in options if option} == ways


def test_table_says_whether_it_fits(capsys: Capture) -> None:
    words = (*SMALL, "--no-trace")
    peak = document(capsys, *words)["totals"]["peak_bytes"]
    yes = unwrapped(printed(capsys, *words, "--memory=100kB"))
    assert f"fits yes: {100_000 - peak:,} bytes are left of 100,000 bytes" in yes
    no = unwrapped(printed(capsys, *words, "--memory=40kB"))
    assert f"fits no: {peak - 40_000:,} bytes are lacking of 40,000 bytes; what fits: --b" in no
    none = unwrapped(printed(capsys, *words, "--memory=1kB"))
    nothing = "not even one image fits, even with checkpointing and autocast"
    assert f"fits no: {peak - 1000:,} bytes are lacking of 1,000 bytes; {nothing}" in none
    gpu = unwrapped(printed(capsys, *words, "--gpu=rtx3090"))
    left = int(23.56 * GIB) - 22 * MIB - CONTEXT_OF_3090
    assert f"fits yes: {left / GIB:.2f} GiB are left of GeForce RTX 3090, 23.56 GiB" in gpu
    assert not re.search(r"^fits ", printed(capsys, *words), re.MULTILINE)


def test_what_a_gpu_is_said_to_take_is_what_is_held_against_it(capsys: Capture) -> None:
    """Caches of the allocator are released before memory runs out.

    At 13,200 images the segments that a GPU with enough memory would keep are above a 3090's.
    """
    words = ("--tokens=197", "--dim=192", "--heads=3", "--inference", "--no-trace")
    said = document(capsys, *words, "--batch=13200", "--gpu=rtx3090")
    enough = document(capsys, *words, "--batch=13200", "--gpu=h100")
    assert enough["gpu"]["reserved"] > said["fits"]["budget_bytes"]
    assert said["gpu"]["total"] == said["fits"]["takes"] <= said["fits"]["budget_bytes"]


# What is measured


@pytest.fixture
def of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> MeasuredStep:
    """Have this be measured in place of a step."""
    step = MeasuredStep(
        device="NVIDIA H100 80GB HBM3",
        torch="2.11.0+cu130",
        cuda="13.0",
        before=2 * 32 * MIB,
        allocated={"forward": 65 * MIB, "backward": 66 * MIB, "optimizer": 67 * MIB},
        reserved=68 * MIB,
        beside=700 * MIB,
    )
    monkeypatch.setattr(measure, "measure_step", lambda model, workload: step)
    return step


def test_measured_is_a_row(capsys: Capture, of_a_gpu: MeasuredStep) -> None:
    said = document(capsys, *SMALL, "--measure", "--no-trace")
    assert said["measured"] == {
        "device": "NVIDIA H100 80GB HBM3",
        "torch": "2.11.0+cu130",
        "cuda": "13.0",
        "before": 2 * 32 * MIB,
        "allocated": of_a_gpu.allocated,
        "reserved": 68 * MIB,
        "beside": 700 * MIB,
    }


@pytest.mark.usefixtures("of_a_gpu")
def test_measured_beside_predicted_phase_by_phase(capsys: Capture) -> None:
    words = (*SMALL, "--measure", "--no-trace")
    alone = unwrapped(printed(capsys, *words))
    where = "on NVIDIA H100 80GB HBM3 with torch 2.11.0+cu130, CUDA 13.0"
    beside = f"reserved 68.0 MiB, beside it 700.0 MiB; {where}"
    phases = "forward 65.0 MiB, backward 66.0 MiB, optimizer 67.0 MiB"
    assert f"measured {phases}; {beside}" in alone
    given = (*words, "--gpu=h100", "--torch=2.11")
    predicted = document(capsys, *given)["gpu"]["allocated"]
    less = [
        size * MIB - predicted[name] for name, size in zip(predicted, (65, 66, 67), strict=True)
    ]
    assert all(size > 0 for size in less)
    assert (
        f"measured forward 65.0 MiB (−{less[0]:,} bytes predicted), backward 66.0 MiB "
        f"(−{less[1]:,} bytes predicted), optimizer 67.0 MiB (−{less[2]:,} bytes predicted); "
        f"{beside}"
    ) in unwrapped(printed(capsys, *given))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_a_sentence_says_so(capsys: Capture) -> None:
    assert run(["memory", *SMALL, "--measure", "--no-trace"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"vitprof: PyTorch {torch.__version__} sees no CUDA GPU here to measure on; leave out "
        "--measure, or give --gpu to predict\n"
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_step_is_measured(capsys: Capture) -> None:
    said = document(capsys, *SMALL, "--measure", "--no-trace")
    measured = said["measured"]
    for phase, size in measured["allocated"].items():
        own = size - measured["before"]
        assert said["phases"][phase]["peak_bytes"] <= own < 2 * MIB
    assert measured["reserved"] >= max(measured["allocated"].values())


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
        (
            "--optimizer rmsprop",
            "optimizer can be sgd, momentum, adam, adamw or lamb, not 'rmsprop'",
        ),
        ("--batch 0", "batch 0 is out of range; give a whole number from 1 to"),
        ("--batch many", "batch many is not a whole number"),
        ("--dtype int8", "dtype can be fp32, bf16 or fp16, not 'int8'"),
        ("--autocast", "autocast to fp32 changes nothing; give dtype bf16 or fp16"),
        ("--autocast --dtype fp32", "autocast to fp32 changes nothing"),
        ("--memory 24", "memory '24' is 24 bytes without a unit; give one, such as 24GiB or 24B"),
        ("--memory 12parsec", "memory '12parsec' is not a memory size.*such as 24GiB"),
        ("--memory 0", "memory '0' is less than one byte"),
        ("--memory 1GiB --gpu t4", "memory and gpu both name the memory; give one of the two"),
        ("--gpu a100", "'a100' is the name of several GPUs; give a100-40 or a100-80"),
        ("--gpu v100", "'v100' is the name of several GPUs; give v100-16 or v100-32"),
        ("--gpu rtx6000", "several GPUs; give quadrortx6000, rtx6000ada or rtxpro6000"),
        ("--gpu rtx3091", "there is no GPU 'rtx3091'; did you mean rtx3090"),
        ("--torch 2.11", "torch 2.11 says which version runs on a GPU; give --gpu with it"),
        ("--gpu h100 --torch 0.4", "the rules of torch 0.4 are not known; give .* 1.12 to 2.13"),
        ("--gpu h100 --device cpu", "the step of the CPU takes no memory of h100"),
        ("--measure --device cpu", "the step of the CPU is not measured"),
        ("--inference --checkpoint", "inference keeps nothing to checkpoint"),
        (
            "--inference --keep-gradients",
            "inference has no gradients, which keep gradients is about",
        ),
        ("--inference --accumulate 2", "inference has no gradients, which accumulate 2 is about"),
        ("--inference --ddp view", "inference has no gradients, which ddp view is about"),
        ("--inference --clip", "inference has no gradients, which clip is about; give one of the"),
        (
            "--ddp view --keep-gradients",
            "ddp view keeps .* in its buckets; leave out keep gradients",
        ),
        ("--optimizer lamb", "kernel foreach is none of lamb, .*; give kernel loop"),
        ("--accumulate 0", "accumulate 0 is out of range; give a whole number from 1 to"),
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
        f"{said['backward']:,}, which have to be equal; please report this bug"
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
