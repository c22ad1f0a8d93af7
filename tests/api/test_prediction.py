"""Largest batch predicted without a GPU: by formula, and confirmed by a trace."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

import vitprof
from vitprof.allocation.allocator import DoesNotFitError
from vitprof.allocation.largest_batch import MOST, largest_batch
from vitprof.allocation.on_gpu import on_gpu
from vitprof.allocation.step import peak_bytes
from vitprof.api import prediction
from vitprof.api.prediction import predict
from vitprof.cli import run
from vitprof.cli.exits import INTERRUPTED
from vitprof.cuda.attention import TooManyImagesError
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.formulas.model import Model
from vitprof.progress import quiet
from vitprof.report.batch_size import PredictedBatch
from vitprof.request.budget import Budget
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.trace import trace
from vitprof.sweeps.memory import largest_traced

Capture = pytest.CaptureFixture[str]

LAYER: dict[str, object] = {"tokens": 11, "dim": 12, "heads": 3}
WORDS = ("batch-size", "--tokens=11", "--dim=12", "--heads=3")
MIB, GIB = 2**20, 2**30
CONTEXT_OF_3090 = 927_793_152  # not measured: the largest that an H100 showed
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


def predicted(
    budget: int, mixer: str = "attn", workload: Workload = STEPS[0], *, most: int = MOST
) -> PredictedBatch:
    """Return the prediction for an amount of memory, without a trace."""
    within = Budget(bytes=budget)
    return predict(layer(mixer), workload, within, most=most, trace=False, say=quiet)


def gpu_of(mib: int) -> Platform:
    """Return a T4 of which PyTorch may reserve this many MiB."""
    return Platform(gpu=replace(find_gpu("t4"), shown=mib / 1024, context=0))


# On paper


@pytest.mark.parametrize("workload", STEPS, ids=["fp32", "checkpoint", "inference", "sgd"])
@pytest.mark.parametrize("mixer", KINDS)
def test_the_largest_fits_and_the_next_does_not(mixer: str, workload: Workload) -> None:
    peaks = {batch: peak(batch, mixer, workload) for batch in (1, 2, 3, 5, 40, 1001)}
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
    # Weights and optimizer states take more than a few images of one token each.
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
    """Cap the batch at the largest that a workload can have; more may fit."""
    assert largest_batch(layer(), Workload(), 10**30) == 10**9 - 1
    found = predicted(10**30)
    assert (found.batch, found.next, found.capped) == (10**9 - 1, None, True)


def test_cap() -> None:
    for most in (1, 8, 9):
        found = predicted(peak(9), most=most)
        assert (found.batch, found.by_tensors, found.next, found.capped) == (most, 9, None, True)
    found = predicted(peak(9), most=10)
    assert found.next is not None
    assert (found.batch, found.by_tensors, found.next.batch, found.capped) == (9, 9, 10, False)
    none = predicted(peak(1) - 1, most=1)
    assert none.next is not None
    assert (none.batch, none.next.batch, none.capped) == (None, 1, False)


def test_prediction_is_of_the_workload_and_its_batch_is_not_read() -> None:
    budget = peak(40)
    assert largest_batch(layer(), Workload(batch=7), budget) == 40
    leaner = largest_batch(layer(), Workload(checkpoint=True, optimizer="sgd"), budget)
    assert leaner > 40


# On a GPU


def fits(batch: int, mixer: str, platform: Platform) -> bool:
    try:
        on_gpu(layer(mixer), Workload(batch=batch), platform, capacity=platform.capacity)
    except DoesNotFitError:
        return False
    return True


@pytest.mark.parametrize("mixer", KINDS)
def test_the_largest_on_a_gpu_fits_and_the_next_does_not(mixer: str) -> None:
    """Fill one segment of 20 MiB with the workspaces of cuBLAS, and the rest with ones of 2 MiB."""
    platform = gpu_of(26)
    budget = Budget(bytes=26 * MIB, platform=platform)
    found = predict(layer(mixer), Workload(), budget, most=MOST, trace=False, say=quiet)
    assert found.largest is not None
    assert found.next is not None
    assert found.next.batch == found.largest.batch + 1
    assert fits(found.largest.batch, mixer, platform)
    assert not fits(found.next.batch, mixer, platform)
    assert found.by_tensors == largest_batch(layer(mixer), Workload(), 26 * MIB)
    assert found.by_tensors > found.largest.batch
    assert found.largest.gpu is not None
    assert found.largest.bytes == found.largest.gpu.reserved <= 26 * MIB < found.next.bytes


def test_a_gpu_with_no_room_for_its_libraries() -> None:
    """Fit both workspaces of cuBLAS, of 8,519,680 bytes, in one segment; an image needs another."""
    for mib, batch in ((19, None), (20, None), (21, None), (22, 1)):
        budget = Budget(bytes=mib * MIB, platform=gpu_of(mib))
        found = predict(layer(), Workload(), budget, most=1, trace=False, say=quiet)
        assert (found.batch, found.capped) == (batch, batch == 1)
        if batch is None:
            taken = f"it takes 22.0 MiB, and the budget is {mib}.0 MiB"
            assert found.complaint == f"not even 1 image fits: {taken}"


@pytest.mark.parametrize("mixer", ["attn", "lambda"])
@pytest.mark.parametrize(
    "workload",
    [Workload(inference=True), Workload(dtype="bf16", autocast=True)],
    ids=["inference", "autocast"],
)
def test_what_fits_a_gpu_takes_no_more_than_it_has(mixer: str, workload: Workload) -> None:
    """Check reserved bytes if memory is short: PyTorch releases what it has cached."""
    spec = specify("layer", mixer=mixer, options={"tokens": 197, "dim": 192, "heads": 3})
    platform = Platform(gpu=find_gpu("rtx3090"))
    budget = Budget(bytes=platform.gpu.memory_bytes, platform=platform)
    found = predict(spec, workload, budget, most=MOST, trace=False, say=quiet)
    assert found.largest is not None
    assert found.next is not None
    assert found.largest.gpu is not None
    free = on_gpu(spec, replace(workload, batch=found.largest.batch), platform)
    assert free.reserved + CONTEXT_OF_3090 > budget.bytes  # if nothing were released
    assert found.largest.bytes <= budget.bytes < found.next.bytes


# Confirmed


@pytest.mark.parametrize("mixer", KINDS)
def test_trace_confirms(mixer: str) -> None:
    said: list[str] = []
    on_cpu = Workload(device="cpu")
    budget = Budget(bytes=peak(9, mixer, on_cpu))
    found = predict(layer(mixer), on_cpu, budget, most=MOST, say=said.append)
    assert found.largest is not None
    assert found.next is not None
    assert (found.largest.batch, found.next.batch) == (9, 10)
    for fit in (found.largest, found.next):
        assert fit.peak_bytes == peak(fit.batch, mixer, on_cpu)
        assert fit.traced_bytes == trace(layer(mixer), replace(on_cpu, batch=fit.batch)).peak_bytes
        assert fit.agrees is True
        assert fit.gpu is None
        assert fit.bytes == fit.peak_bytes
    assert found.confirmed is True
    assert said == [
        "solving for the largest batch",
        *(f"tracing a step of batch {batch} on fake tensors" for batch in (9, 10)),
    ]


@pytest.mark.parametrize("wrong", [-1, 1])
def test_trace_that_says_otherwise(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    def otherwise(model: Model, workload: Workload) -> Any:
        honest = trace(model, workload)
        off = {name: held + wrong * MIB for name, held in honest.by_phase.items()}
        return replace(honest, by_phase=off)

    monkeypatch.setattr(prediction, "trace_step", otherwise)
    sgd, budget = Workload(optimizer="sgd"), Budget(bytes=1 * MIB)
    found = predict(layer(), sgd, budget, most=MOST, say=quiet)
    assert found.confirmed is False
    assert run([*WORDS, "--memory=1MiB"]) == 1
    assert "DIFFERS" in capsys.readouterr().out


# The command


def test_command(capsys: Capture) -> None:
    assert run([*WORDS, "--memory=1MiB", "--format=json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    said = json.loads(out)
    assert (said["schema"], said["command"]) == ("vitprof/2", "batch-size")
    assert said["budget_bytes"] == MIB
    assert not {"gpu", "torch"} & {*said}
    assert (said["confirmed"], said["capped"]) == (True, False)
    batch = said["predicted"]
    assert said["by_tensors"] == batch
    assert (said["largest"]["batch"], said["next"]["batch"]) == (batch, batch + 1)
    assert said["largest"]["peak_bytes"] == peak(batch) <= MIB
    assert said["next"]["peak_bytes"] == peak(batch + 1) > MIB
    # A trace has one memory, which holds the counts of steps of 12 tensors, too.
    assert said["largest"]["traced_bytes"] == said["largest"]["peak_bytes"] + 12 * 4
    assert said["largest"]["agrees"] is True
    assert (said["largest"]["gpu"], said["next"]["gpu"]) == (None, None)
    assert "batch" not in said["workload"]
    assert [*said["versions"]] == ["vitprof", "python", "torch"]


def test_table(capsys: Capture) -> None:
    assert run([*WORDS, "--memory=1MiB"]) == 0
    table = " ".join(capsys.readouterr().out.split())
    batch = largest_batch(layer(), Workload(), MIB)
    takes = f"{batch:,} takes {peak(batch):,} bytes, {batch + 1:,} would take"
    assert f"largest {batch:,} budget 1.0 MiB ({MIB:,} bytes) formula {takes}" in table
    assert f"trace agrees: {batch:,} takes" in table
    assert "on the GPU" not in table
    assert "what a GPU adds (fragmentation, library workspaces, the CUDA context) is not" in table


def test_table_of_a_gpu(capsys: Capture) -> None:
    """Show the batch that fits the GPU first, and below it the formula's own answer, named."""
    words = ["batch-size", "--tokens=197", "--gpu=rtx3090", "--no-trace"]
    assert run([*words, "--format=json"]) == 0
    said = json.loads(capsys.readouterr().out)
    batch, alone = said["predicted"], said["by_tensors"]
    assert batch < alone
    assert run(words) == 0
    table = " ".join(capsys.readouterr().out.split())

    takes, would = (said[name]["gpu"]["total"] for name in ("largest", "next"))
    tensors = [f"{said[name]['peak_bytes'] / GIB:.2f} GiB" for name in ("largest", "next")]
    budget = int(23.56 * GIB)
    assert takes <= budget < would
    # The next one rounds to the budget, 23.56 GiB, so it is shown to the byte.
    assert (
        f"largest {batch:,} budget GeForce RTX 3090, 23.56 GiB ({budget:,} bytes) "
        f"on the GPU {batch:,} takes {takes / GIB:.2f} GiB, "
        f"{batch + 1:,} would take {would:,} bytes "
        f"tensors by formula {batch:,} takes {tensors[0]}, {batch + 1:,} would take {tensors[1]} "
        f"tensors alone batch {alone:,} would fit workload"
    ) in table
    assert "what has to fit is what PyTorch's allocator reserves" in table
    assert "with the kernels of torch 2.13; memory of the GPU: " in table


@pytest.mark.parametrize("budget", ["--memory=1MiB", "--gpu=rtx3090"])
def test_a_cap_that_was_reached_is_said(capsys: Capture, budget: str) -> None:
    words = [*WORDS, budget, "--max-batch=5", "--no-trace"]
    assert run([*words, "--format=json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["predicted"], said["capped"], said["next"]) == (5, True, None)
    assert run(words) == 0
    table = " ".join(capsys.readouterr().out.split())
    assert "largest 5 or more: the cap on the batch is reached budget" in table
    assert "would take" not in table
    assert run([*words, "--format=csv"]) == 0
    assert [row["batch"] for row in csv.DictReader(StringIO(capsys.readouterr().out))] == ["5"]


def test_a_cap_that_was_not_reached_changes_nothing(capsys: Capture) -> None:
    batch = largest_batch(layer(), Workload(), MIB)
    words = [*WORDS, "--memory=1MiB", "--no-trace", "--format=json"]
    assert run(words) == 0
    free = capsys.readouterr().out
    assert run([*words, f"--max-batch={batch + 1}"]) == 0
    assert capsys.readouterr().out == free


def test_rows(capsys: Capture) -> None:
    """Compare memory by formula and by a trace, for the largest batch and the next."""
    words = [*WORDS, f"--memory={peak(9)}B", "--format=csv"]
    header = "batch,fits,peak_bytes,traced_bytes,agrees,gpu_bytes"
    assert run([*words, "--no-trace"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        header,
        f"9,True,{peak(9)},,,",
        f"10,False,{peak(10)},,,",
    ]
    assert run(words) == 0
    # A trace holds the counts of steps of 12 tensors in the same memory.
    assert capsys.readouterr().out.splitlines() == [
        header,
        f"9,True,{peak(9)},{peak(9) + 12 * 4},True,",
        f"10,False,{peak(10)},{peak(10) + 12 * 4},True,",
    ]


def test_rows_of_a_gpu(capsys: Capture) -> None:
    words = ["batch-size", "--tokens=197", "--gpu=rtx3090", "--no-trace", "--format=csv"]
    assert run(words) == 0
    largest, after = csv.DictReader(StringIO(capsys.readouterr().out))
    assert (largest["fits"], after["fits"]) == ("True", "False")
    assert int(after["batch"]) == int(largest["batch"]) + 1
    sizes = [int(row["gpu_bytes"]) for row in (largest, after)]
    assert sizes[0] <= int(23.56 * GIB) < sizes[1]
    # Segments are of whole 2 MiB.
    assert [(size - CONTEXT_OF_3090) % (2 * MIB) for size in sizes] == [0, 0]


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
    shown = int(23.56 * GIB)  # by a driver, of the 24 of the data sheet
    assert (said["budget_bytes"], said["gpu"]) == (shown, "GeForce RTX 3090")
    assert said["torch"] == "2.13"
    spec = specify("layer", options={"tokens": 11})
    assert said["by_tensors"] == largest_batch(spec, Workload(), shown)
    assert said["predicted"] < said["by_tensors"]
    for fit in (said["largest"], said["next"]):
        assert fit["peak_bytes"] == peak_bytes(spec, Workload(batch=fit["batch"]))
        assert fit["gpu"]["context"] == CONTEXT_OF_3090
        assert fit["gpu"]["total"] == fit["gpu"]["reserved"] + CONTEXT_OF_3090
    assert said["largest"]["gpu"]["total"] <= shown < said["next"]["gpu"]["total"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--memory=24",), "memory '24' is 24 bytes without a unit; give one, such as 24GiB"),
        (("--gpu=a100",), "'a100' is the name of several GPUs; give a100-40 or a100-80"),
        (("--gpu=h100", "--torch=0.4"), "the rules of torch 0.4 are not known"),
        (("--memory=1GiB", "--torch=2.11"), "torch 2.11 says which version.*give --gpu with it"),
        (("--memory=1GiB", "--max-batch=0"), "max batch 0 is out of range"),
        (("--memory=12parsec",), "memory '12parsec' is not a memory size"),
        (("--memory=0",), "memory '0' is less than one byte"),
        (("--gpu=rtx309",), "rtx309.*did you mean rtx3090"),
        (("--memory=1GiB", "--gpu=t4"), "memory and gpu both name the memory; give one of the two"),
        (("--memory=1GiB", "--device=cpu"), "predict without a device"),
        (("--memory=1GiB", "--format=junit"), "no format 'junit'"),
        (("--memory=1GiB", "--autocast"), "autocast has no effect"),
        (("--no-trace",), "no device and no memory budget is given"),
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


# What a kernel takes


FUSED = ("batch-size", "--tokens=4", "--dim=16", "--heads=2", "--mixer=attn", "--inference")


def test_fused_attention_takes_65535_images(capsys: Capture) -> None:
    words = (*FUSED, "--gpu=h100", "--torch=2.7", "--no-trace", "--format=json")
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["predicted"] > 65_535
    assert run([*words, "--fused"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["predicted"], found["capped"], found["next"]) == (65_535, False, None)
    limit = "the memory-efficient kernel of fused attention takes at most 65,535 images"
    assert found["limit"] == limit
    assert run([*words[:-1], "--fused"]) == 0
    assert f" limit {limit} " in " ".join(capsys.readouterr().out.split())
    # The cap that was given comes first, and more may fit.
    assert run([*words, "--fused", "--max-batch=65535"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["predicted"], found["capped"], found["limit"]) == (65_535, True, "")


def test_a_batch_that_no_kernel_takes(capsys: Capture) -> None:
    assert run(["memory", *FUSED[1:], "--gpu=h100", "--fused", "--batch=65536"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vitprof: 65,536 images are too many: the memory-efficient kernel of")
    # The tensors alone depend on no kernel.
    assert run(["memory", *FUSED[1:], "--device=cuda", "--fused", "--batch=65536"]) == 0


def test_traces_end_at_what_a_kernel_takes() -> None:
    tried = []

    def need(batch: int) -> int:
        tried.append(batch)
        if batch > 65_535:
            raise TooManyImagesError("the kernel takes fewer", batch)
        return 1_000 + 3 * batch

    assert largest_traced(need, 10**9, 10**9) == 65_535
    assert len(tried) < 50
    assert largest_traced(need, 1_000 + 3 * 65_535, 10**9) == 65_535
    assert largest_traced(need, 1_000 + 3 * 65_534, 10**9) == 65_534
