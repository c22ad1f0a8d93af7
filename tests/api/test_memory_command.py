"""`vitprof memory`: its amounts by hand, as a function, and beside a trace."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from commands import Capture
from memory_command import DEEP, KEPT, SMALL, B, D, E, H, N, document, h, printed, unwrapped

from vitprof.allocation.step import memory
from vitprof.allocation.timeline import KINDS
from vitprof.api import memory as footprint
from vitprof.cli import run
from vitprof.report.memory import Memory
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.trace import trace


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
        workload=Workload(batch=3),
        trace=False,
    )
    assert (same.phases, same.tree, same.held) == (report.phases, report.tree, report.held)


def test_formula_that_is_off_the_trace(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    model = specify("layer", options={"tokens": N, "dim": D, "heads": h})
    honest = trace(model, Workload(batch=B))
    said = {**honest.by_phase, "backward": honest.by_phase["backward"] + 1}
    wrong = replace(honest, by_phase=said)
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
