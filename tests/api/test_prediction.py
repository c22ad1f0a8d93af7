"""The largest batch predicted without a device: on paper, and confirmed by a trace."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

import vitprof
from vitprof.allocation.largest_batch import largest_batch
from vitprof.allocation.step import peak_bytes
from vitprof.api import prediction
from vitprof.api.prediction import predict
from vitprof.cli import run
from vitprof.cli.exits import INTERRUPTED
from vitprof.formulas.model import Model
from vitprof.progress import quiet
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.trace import trace

Capture = pytest.CaptureFixture[str]

LAYER: dict[str, object] = {"tokens": 11, "dim": 12, "heads": 3}
WORDS = ("batch-size", "--tokens=11", "--dim=12", "--heads=3")
MIB = 2**20
STEPS = (
    Workload(),
    Workload(dtype="bf16", autocast=True, checkpoint=True),
    Workload(inference=True),
    Workload(optimizer="sgd", device="cpu"),
)


# One of each kind: products of tokens, of channels, a convolution, weights across tokens.
KINDS = ("attn", "lambda", "linear", "xca", "token-mlp", "aft", "fourier")


def layer(mixer: str = "attn") -> Model:
    return specify("layer", mixer=mixer, options=LAYER)


def peak(batch: int, mixer: str = "attn", workload: Workload = STEPS[0]) -> int:
    return peak_bytes(layer(mixer), replace(workload, batch=batch))


# On paper


@pytest.mark.parametrize("workload", STEPS, ids=["fp32", "checkpoint", "inference", "sgd"])
@pytest.mark.parametrize("mixer", KINDS)
def test_the_largest_fits_and_the_next_does_not(mixer: str, workload: Workload) -> None:
    peaks = {batch: peak(batch, mixer, workload) for batch in (1, 2, 3, 4, 5, 7, 8, 40, 1001)}
    assert sorted(peaks.values()) == [*peaks.values()]
    for batch, exact in peaks.items():
        assert largest_batch(layer(mixer), workload, exact) == batch
        assert largest_batch(layer(mixer), workload, exact - 1) == batch - 1
        assert largest_batch(layer(mixer), workload, exact + 1) == batch


@pytest.mark.parametrize("model", ["mae", "classifier"])
@pytest.mark.parametrize("mixer", KINDS)
def test_the_largest_of_a_whole_model(model: str, mixer: str) -> None:
    # Their highest peak is first in the optimizer and then in the backward pass, so the
    # line through batches 2 and 3 is far below.
    spec = specify(model, mixer=mixer, options={"depth": 3})
    flat = peak_bytes(spec, Workload(batch=2))
    for budget in (flat, 2 * flat, 5 * flat + 1, 2**34):
        found = largest_batch(spec, Workload(), budget)
        assert peak_bytes(spec, Workload(batch=found)) <= budget
        assert budget < peak_bytes(spec, Workload(batch=found + 1))


def test_batch_that_does_not_matter_at_first() -> None:
    # All weights in the optimizer weigh more than a few images of one token each.
    spec = specify("layer", options={"tokens": 1, "dim": 60, "heads": 3})
    few = [peak_bytes(spec, Workload(batch=batch)) for batch in (1, 2, 3, 4, 20, 21)]
    of_image = 4 * 60 + 8  # the inputs and the label
    assert few[:4] == [few[0] + some * of_image for some in range(4)]
    for batch in (1, 2, 3, 4, 19, 20, 21, 22, 500):
        exact = peak_bytes(spec, Workload(batch=batch))
        assert largest_batch(spec, Workload(), exact) == batch
        assert largest_batch(spec, Workload(), exact - 1) == batch - 1


def test_nothing_fits_into_nothing() -> None:
    assert largest_batch(layer(), Workload(), 1) == 0
    assert largest_batch(layer(), Workload(), peak(1) - 1) == 0


def test_huge_budget_is_capped() -> None:
    # The next batch too is a batch that a workload can have.
    assert largest_batch(layer(), Workload(), 10**30) == 10**9 - 1
    found = predict(layer(), Workload(), 10**30, trace=False, say=quiet)
    assert found.next.batch == 10**9


def test_prediction_is_of_the_workload_and_its_batch_is_not_read() -> None:
    budget = peak(40)
    assert largest_batch(layer(), Workload(batch=7), budget) == 40
    leaner = largest_batch(layer(), Workload(checkpoint=True, optimizer="sgd"), budget)
    assert leaner > 40


# Confirmed


@pytest.mark.parametrize("mixer", KINDS)
def test_trace_confirms(mixer: str) -> None:
    said: list[str] = []
    on_cpu = Workload(device="cpu")
    found = predict(layer(mixer), on_cpu, peak(9, mixer, on_cpu), say=said.append)
    assert found.largest is not None
    assert (found.largest.batch, found.next.batch) == (9, 10)
    for fit in (found.largest, found.next):
        assert fit.peak_bytes == peak(fit.batch, mixer, on_cpu)
        assert fit.traced_bytes == trace(layer(mixer), replace(on_cpu, batch=fit.batch)).peak_bytes
        assert fit.agrees is True
        assert fit.gpu is None  # of a CPU
    assert found.confirmed is True
    assert said == [f"tracing a step of {batch} on fake tensors" for batch in (9, 10)]


@pytest.mark.parametrize("wrong", [-1, 1])
def test_trace_that_says_otherwise(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    def otherwise(model: Model, workload: Workload) -> Any:
        honest = trace(model, workload)
        off = {name: held + wrong * MIB for name, held in honest.by_phase.items()}
        return type(honest)(by_phase=off, levels=honest.levels, functions={}, events=honest.events)

    monkeypatch.setattr(prediction, "trace_step", otherwise)
    found = predict(layer(), Workload(optimizer="sgd"), 1 * MIB, say=quiet)
    assert found.confirmed is False
    assert run([*WORDS, "--memory=1MiB"]) == 1
    assert "OTHERWISE" in capsys.readouterr().out


# The command


def test_command(capsys: Capture) -> None:
    assert run([*WORDS, "--memory=1MiB", "--format=json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    said = json.loads(out)
    assert (said["schema"], said["command"]) == ("vitprof/2", "batch-size")
    assert said["budget_bytes"] == MIB
    assert said["confirmed"] is True
    batch = said["predicted"]
    assert (said["largest"]["batch"], said["next"]["batch"]) == (batch, batch + 1)
    assert said["largest"]["peak_bytes"] == peak(batch) <= MIB
    assert said["next"]["peak_bytes"] == peak(batch + 1) > MIB
    # A trace knows one memory, in which the counts of steps of 12 tensors lie, too.
    assert said["largest"]["traced_bytes"] == said["largest"]["peak_bytes"] + 12 * 4
    assert said["largest"]["agrees"] is True
    for fit in (said["largest"], said["next"]):
        gpu = fit["gpu"]
        assert gpu["total"] == gpu["reserved"] + gpu["workspaces"] + gpu["context"]
    assert "batch" not in said["workload"]
    assert [*said["versions"]] == ["vitprof", "python", "torch"]


def test_table(capsys: Capture) -> None:
    assert run([*WORDS, "--memory=1MiB"]) == 0
    table = " ".join(capsys.readouterr().out.split())
    batch = largest_batch(layer(), Workload(), MIB)
    takes = f"{batch:,} takes {peak(batch):,} bytes, {batch + 1:,} would take"
    assert f"largest {batch:,} budget 1.0 MiB formula {takes}" in table
    assert f"trace the same by its rules: {batch:,} takes" in table
    assert "on a GPU" in table


def test_rows(capsys: Capture) -> None:
    """What a step holds by formula, by a trace, and on a GPU: of the largest, and of the next."""
    words = [*WORDS, f"--memory={peak(9)}", "--format=csv"]
    header = "batch,fits,peak_bytes,traced_bytes,agrees,gpu_bytes"
    assert run([*words, "--no-trace"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        header,
        f"9,True,{peak(9)},,,",
        f"10,False,{peak(10)},,,",
    ]
    assert run(words) == 0
    # A trace holds the counts of steps of 12 tensors in the same memory. All fit one segment;
    # beside it are two workspaces of cuBLAS, of 2 × 4 MiB and 8 × 16 KiB each, and the context.
    beside = 2 * MIB + 2 * (2 * 4 * MIB + 8 * 16 * 1024) + 290_000_000
    assert capsys.readouterr().out.splitlines() == [
        header,
        f"9,True,{peak(9)},{peak(9) + 12 * 4},True,{beside}",
        f"10,False,{peak(10)},{peak(10) + 12 * 4},True,{beside}",
    ]


def test_function(capsys: Capture) -> None:
    found = vitprof.batch_size("layer", memory="1MiB", trace=False, tokens=11, dim=12, heads=3)
    assert found.batch == largest_batch(layer(), Workload(), MIB)
    assert run([*WORDS, "--memory=1MiB", "--no-trace", "--format=json"]) == 0
    assert capsys.readouterr().out == found.to_json()


def test_command_without_a_trace(capsys: Capture) -> None:
    assert run([*WORDS, "--memory=1MiB", "--format=json", "--no-trace"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["confirmed"] is None
    assert said["predicted"] == largest_batch(layer(), Workload(), MIB)
    for fit in (said["largest"], said["next"]):
        assert (fit["traced_bytes"], fit["gpu"]) == (None, None)
    assert [*said["versions"]] == ["vitprof", "python"]
    assert run([*WORDS, "--memory=1MiB", "--no-trace"]) == 0
    assert not re.search(r"^trace ", capsys.readouterr().out, re.MULTILINE)


def test_nothing_is_loaded_without_a_trace() -> None:
    code = (
        "import sys; from vitprof.cli import run; assert run(sys.argv[1:]) == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    words = (*WORDS, "--gpu=rtx3090", "--no-trace", "--format=json")
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60
    )
    names = {*ended.stderr.split()}
    assert "vitprof.allocation.largest_batch" in names
    assert names & {"torch", "numpy", "pandas", "vitprof.modules", "rich.table"} == set()
    assert json.loads(ended.stdout)["confirmed"] is None


def test_nothing_fits(capsys: Capture) -> None:
    assert run([*WORDS, "--memory=1kiB"]) == 1
    assert re.search(r"^largest +none$", capsys.readouterr().out, re.MULTILINE)
    assert run([*WORDS, "--memory=1kiB", "--format=json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["predicted"], said["largest"], said["next"]["batch"]) == (0, None, 1)
    assert said["next"]["peak_bytes"] == peak(1)


def test_named_gpu(capsys: Capture) -> None:
    assert run(["batch-size", "--tokens=11", "--gpu=RTX-3090", "--format=json", "--no-trace"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["budget_bytes"] == 24 * 1024 * MIB
    spec = specify("layer", options={"tokens": 11})
    assert said["predicted"] == largest_batch(spec, Workload(), 24 * 1024 * MIB)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--memory=12parsec",), "memory '12parsec' is no size of memory"),
        (("--memory=0",), "memory '0' is no memory at all"),
        (("--gpu=rtx309",), "rtx309.*did you mean rtx3090"),
        (("--memory=1GiB", "--gpu=t4"), "memory and gpu both name the memory; give one"),
        (("--memory=1GiB", "--device=cpu"), "predict without a device"),
        (("--memory=1GiB", "--format=junit"), "no format 'junit'"),
        (("--memory=1GiB", "--autocast"), "autocast to fp32"),
        (("--no-trace",), "no device to try on"),
    ],
)
def test_bad_request(capsys: Capture, words: tuple[str, ...], sentence: str) -> None:
    assert run([*WORDS, *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"vitprof: .*{sentence}.*\n", err)


def test_interrupted_while_tracing(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def interrupted(model: Model, workload: Workload) -> Any:
        asked.append(workload.batch)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return trace(model, workload)

    monkeypatch.setattr(prediction, "trace_step", interrupted)
    assert run([*WORDS, "--memory=1MiB"]) == INTERRUPTED
    out, err = capsys.readouterr()
    assert (out, err) == ("", "vitprof: interrupted\n")
    batch = largest_batch(layer(), Workload(), MIB)
    assert asked == [batch, batch + 1]
