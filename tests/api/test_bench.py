"""`vitprof bench`: real runs of the command."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Capture
from commands import document as measured
from commands import refused as said
from h100 import H100, built
from pyarrow import parquet

import vitprof
from vitprof.api import bench as timed
from vitprof.cli import run
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.speed import calibrated
from vitprof.measuring import timing
from vitprof.measuring.timing import MIN_TURNS
from vitprof.report.batch_size import PredictedBatch
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running import step
from vitprof.sweeps.time import on_gpu

BRIEF = ("--threads=1", "--budget=1", "--spread=9")  # the fewest turns, however they spread
TINY = ("bench", "--tokens=9", "--dim=16", "--heads=2", *BRIEF)
ALL = "--mixers=attn,lambda,linear"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short turns and one small matrix product."""
    monkeypatch.setattr(timing, "TURN", 0.001)
    monkeypatch.setattr(timing, "_SIDES", (32,))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("suffix", "start"),
    [
        ("txt", "Speed of layer, batch 1, on "),
        ("csv", "name,model,mixer,step,device,batch,"),
        ("json", '{\n  "schema": "vitprof/2",\n  "command": "bench"'),
    ],
)
def test_output_file(tmp_path: Path, capsys: Capture, suffix: str, start: str) -> None:
    file = tmp_path / f"speed.{suffix}"
    assert run([*TINY, f"--output={file}"]) == 0
    assert capsys.readouterr() == ("", "")
    assert file.read_text(encoding="utf-8").startswith(start)


@pytest.mark.usefixtures("quick")
def test_parquet(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "speed.parquet"
    assert run([*TINY, "--mixer=pool", f"--output={file}"]) == 0
    assert capsys.readouterr() == ("", "")
    table = parquet.read_table(file)
    assert table.column("step").to_pylist() == ["forward", "training step"]
    # Without a mixer's own, 8 16² + 80 of the MLP, and two norms of 2 16.
    assert table.column("params").to_pylist() == [8 * 16**2 + 80 + 2 * 32] * 2
    assert table.column("autocast").to_pylist() == [False, False]
    about = json.loads(table.schema.metadata[b"vitprof"])
    medians = [about["models"][0][kind]["median_seconds"] for kind in ("forward", "training_step")]
    assert table.column("median_seconds").to_pylist() == medians


@pytest.mark.usefixtures("quick")
def test_presets(capsys: Capture) -> None:
    words = ("--image-size=32", "--depth=1", *BRIEF)
    document = measured(capsys, "bench", "--presets=vit-s-16,mixer-s-16", *words)
    assert [(one["name"], one["mixer"]) for one in document["models"]] == [
        ("vit-s-16", "attn"),
        ("mixer-s-16", "token-mlp"),
    ]
    assert run(["bench", "--presets=vit-s-16,mixer-s-16", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["vit-s-16", "mixer-s-16"]
    assert sum(line.split()[:3] == ["over", "vit-s-16", "1.00"] for line in lines) == 2
    assert any(line.startswith("mixer-s-16 ") and " mixer token-mlp," in line for line in lines)


@pytest.mark.usefixtures("quick")
def test_three_mixers_in_one_command(capsys: Capture) -> None:
    threads = torch.get_num_threads()
    document = measured(capsys, *TINY, ALL, "--batch=3")
    assert torch.get_num_threads() == threads
    assert (document["schema"], document["command"]) == ("vitprof/2", "bench")
    assert document["conditions"]["threads"] == "1"
    assert document["workload"]["batch"] == 3
    assert document["settled"] is (document["unsettled"] == {})
    assert [one["mixer"] for one in document["models"]] == ["attn", "lambda", "linear"]
    options: dict[str, Any] = {"tokens": 9, "dim": 16, "heads": 2, "counters": ["analytic"]}
    first, peak = document["models"][0], document["matrix_product"]["macs_per_second"]
    for one in document["models"]:
        assert one["params"] == vitprof.params("layer", mixer=one["mixer"], **options).total
        assert one["macs"] == vitprof.macs("layer", mixer=one["mixer"], batch=3, **options).total
        for kind in ("forward", "training_step"):
            found = one[kind]
            median = found["median_seconds"]
            assert 0 < found["lower_quartile_seconds"] <= median
            assert median <= found["upper_quartile_seconds"]
            assert found["samples"] >= MIN_TURNS
            assert found["ratio"] == pytest.approx(median / first[kind]["median_seconds"])
            assert found["images_per_second"] == pytest.approx(3 / median)
            assert found["peak_bytes"] is None
        forward = one["forward"]
        speed = one["macs"] / forward["median_seconds"]
        assert forward["macs_per_second"] == pytest.approx(speed)
        assert forward["share_of_peak"] == pytest.approx(speed / peak)
        step = vitprof.macs("layer", mixer=one["mixer"], training=True, batch=3, **options)
        assert (one["training_macs"], one["recomputed_macs"]) == (step.total, 0)
        training = one["training_step"]
        assert training["macs_per_second"] == pytest.approx(step.total / training["median_seconds"])
        assert (training["mfu"], training["hfu"]) == (None, None)
    assert document["unavailable"].keys() == {"memory", "predicted time", "MFU and HFU"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "words",
    [
        ("--dtype=bf16",),
        ("--dtype=bf16", "--autocast", "--optimizer=momentum", "--kernel=loop", "--checkpoint"),
        ("--optimizer=sgd", "--kernel=fused"),
    ],
)
def test_steps_of_every_kind(capsys: Capture, words: tuple[str, ...]) -> None:
    document = measured(capsys, *TINY, *words)
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        assert document["workload"][name] == (value or True)


@pytest.mark.usefixtures("quick")
def test_largest_batch_is_that_of_the_gpu(capsys: Capture) -> None:
    """Time is measured on the CPU; the batch is of the GPU's kernels and its allocator."""
    words = ("--mixers=lambda,linear", "--dtype=bf16")
    document = measured(capsys, *TINY, *words, "--gpu=rtx3090", "--torch=2.11")
    assert (document["gpu"], document["torch"]) == ("GeForce RTX 3090", "2.11")
    assert document["budget_bytes"] == find_gpu("rtx3090").memory_bytes
    for one in document["models"]:
        sizes: dict[str, Any] = {"tokens": 9, "dim": 16, "heads": 2, "dtype": "bf16"}
        alone = vitprof.batch_size(
            "layer", mixer=one["mixer"], gpu="rtx3090", torch="2.11", trace=False, **sizes
        )
        assert isinstance(alone, PredictedBatch)
        assert alone.largest is not None
        assert one["predicted_largest_batch"] == alone.largest.batch < alone.by_tensors


@pytest.mark.usefixtures("quick")
def test_mixers_share_the_options_that_they_have(capsys: Capture) -> None:
    document = measured(capsys, *TINY, "--mixers=attention,lambda,attn", "--fused", "--key-depth=5")
    attn, other = (one["spec"] for one in document["models"])
    assert (attn["mixer"], attn["fused"]) == ("attn", True)
    assert (other["mixer"], other["key_depth"]) == ("lambda", 5)
    assert "key_depth" not in attn
    assert "fused" not in other


@pytest.mark.usefixtures("quick")
def test_the_reports_configuration(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the example on smaller images and with fewer blocks."""
    example = Path(__file__).parents[2] / "examples" / "bench_mixers.py"
    words = ("--image-size=16", "--depth=1", "--decoder-depth=1", *BRIEF, "--format=json")
    monkeypatch.setattr(sys, "argv", [str(example), *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(example), run_name="__main__")
    assert ended.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["mixer"] for one in document["models"]] == ["attn", "lambda", "linear"]
    assert document["workload"]["batch"] == 10
    spec = document["models"][0]["spec"]
    report = {"patch_size": 8, "dim": 128, "heads": 8, "decoder_dim": 128, "decoder_heads": 8}
    assert spec | report == spec


class Recorded(step.Step):
    """A step that records all its instances, and how often each ran."""

    made: list[Recorded] = []  # noqa: RUF012

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.calls = 0
        self.made.append(self)

    def __call__(self, *given: Any) -> None:
        self.calls += 1
        super().__call__(*given)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    monkeypatch.setattr(Recorded, "made", [])
    monkeypatch.setattr(step, "Step", Recorded)
    return Recorded.made


@pytest.mark.usefixtures("quick")
def test_forward_is_inference_and_training_is_not(capsys: Capture, steps: list[Recorded]) -> None:
    measured(capsys, *TINY, "--mixers=attn,linear", "--checkpoint", "--dtype=bf16")
    kinds = [(one.workload.inference, one.workload.checkpoint) for one in steps]
    assert kinds == [(True, False)] * 2 + [(False, True)] * 2
    assert [one.module.training for one in steps] == [False, False, True, True]
    assert {one.dtype for one in steps} == {torch.bfloat16}
    # Twice to warm up, and in each turn once before it is measured.
    assert all(one.calls >= 2 + 2 * MIN_TURNS for one in steps)


@pytest.mark.usefixtures("quick")
def test_compile(capsys: Capture, monkeypatch: pytest.MonkeyPatch, steps: list[Recorded]) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    assert measured(capsys, *TINY)["conditions"]["compiled"] == "no"
    assert compiled == []
    steps.clear()
    report = measured(capsys, *TINY, "--compile")
    assert report["conditions"]["compiled"] == "yes"
    assert report["models"][0]["recomputed_macs"] is None  # the compiler decides
    assert compiled == [one.module for one in steps]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("can't allocate memory\nand more"), "on cpu: can't allocate memory$"),
        (ValueError("Expected more than 1 value"), "on cpu: Expected more than 1 value$"),
        (torch.OutOfMemoryError(), "on cpu: OutOfMemoryError$"),
    ],
)
def test_step_that_cannot_be_made(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(self: step.Step) -> None:
        raise error

    monkeypatch.setattr(step.Step, "__call__", fail)
    message = said(capsys, *TINY, "--mixer=linear", code=2)
    assert re.search(f"linear, forward cannot be run at batch 1 in fp32 {sentence}", message)


@pytest.mark.usefixtures("quick")
def test_interrupted(
    capsys: Capture, steps: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: Recorded) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorded, "__call__", interrupt)
    threads = torch.get_num_threads()
    assert said(capsys, *TINY, code=130) == "vitprof: interrupted\n"
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("name", "dtype", "precision", "sheet", "why"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", "highest", ("H100 SXM5 80GB", "bf16", 989.4), ""),
        ("NVIDIA H100 80GB HBM3", "fp32", "highest", ("H100 SXM5 80GB", "fp32", 66.9), ""),
        ("NVIDIA H100 80GB HBM3", "fp32", "high", ("H100 SXM5 80GB", "tf32", 494.7), ""),
        ("NVIDIA P1", "fp32", "highest", None, "the table of vitprof gpus has no NVIDIA P1"),
        (
            "Tesla V100-SXM2-16GB",
            "bf16",
            "highest",
            None,
            "the data sheet of Tesla V100 SXM2 16GB has no peak of products in bf16",
        ),
    ],
)
def test_peak_of_the_data_sheet(
    name: str,
    dtype: str,
    precision: str,
    sheet: tuple[str, str, float] | None,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision)
    found, reason = timed._sheet(torch.device("cuda"), Workload(dtype=dtype))
    assert (found and (found.gpu, found.dtype, found.tflops), reason) == (sheet, why)


@pytest.mark.usefixtures("quick")
def test_predicted_times_stand_beside_the_measured_ones(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Take this CPU for an H100 that copies 64 MiB in a millisecond."""
    monkeypatch.setattr(timed, "_platform", lambda place: (H100, ""))
    monkeypatch.setattr(timed, "fastest_copy", lambda *_, **__: timing.Copy(64, 1e-3))
    short = timing.Protocol(threads=1, budget=1, spread=Fraction(9))
    options = {"mixers": ["attn", "pool"], "tokens": 9, "dim": 16, "batch": 3, "protocol": short}
    report = timed.bench("layer", **options)  # type: ignore[arg-type]
    speed = calibrated(H100.gpu, "fp32", report.peak.macs_per_second, 2 * 64 * 2**20 / 1e-3)
    for one in report.models:
        model = specify("layer", mixer=one.name, options={"tokens": 9, "dim": 16})
        for phase, inference in (("forward", True), ("training step", False)):
            own = Workload(batch=3, device="cuda", inference=inference)
            found = one.speeds[phase]
            assert found.predicted == on_gpu(model, own, H100, speed).seconds
            assert found.record()["predicted_seconds"] == found.predicted
            assert found.error == found.predicted / found.timing.median - 1
    text = report.text()
    assert "predicted" in text
    assert "a copy of 64 MiB at 134 GB/s" in text
    product, copy, step, _ = report.measurements
    assert (product["kind"], product["dtype"], product["n"]) == ("gemm", "float32", 32)
    assert copy == {"kind": "copy", "mib": 64, "ms": 1.0, "gb_s": pytest.approx(134.217728)}
    assert built(str(step["spec"]), str(step["workload"]))[0].conditions() == report.models[0].spec
    median = report.models[0].speeds["forward"].timing.median
    assert step["forward_ms"][0] == 1e3 * median  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "gpu", "why"),
    [
        ("NVIDIA H100 80GB HBM3", "H100 SXM5 80GB", ""),
        ("NVIDIA P1", "", "the table of GPUs has no NVIDIA P1; vitprof gpus lists them"),
    ],
)
def test_gpu_whose_kernels_are_predicted(
    name: str, gpu: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    found, reason = timed._platform(torch.device("cuda"))
    assert ("" if found is None else found.gpu.name, reason) == (gpu, why)


def test_a_copy_is_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "TURN", 0.001)
    found = timing.fastest_copy(
        torch.device("cpu"), timing.Protocol(threads=1), say=lambda _: None, sizes=(1,)
    )
    assert found.mib == 1
    assert found.bytes_per_second == 2 * 2**20 / found.seconds


@pytest.mark.usefixtures("quick")
def test_training_is_counted_for_each_batch_and_with_what_is_recomputed(capsys: Capture) -> None:
    words = ("--batch=3", "--checkpoint", "--accumulate=2")
    (one,) = measured(capsys, *TINY, "--mixers=attn", *words)["models"]
    options: dict[str, Any] = {"tokens": 9, "dim": 16, "heads": 2, "batch": 3}
    step = vitprof.macs("layer", training=True, checkpoint=True, counters=["analytic"], **options)
    assert one["training_macs"] == step.totals["without_recomputation"]
    assert one["recomputed_macs"] == step.totals["recomputed"] > 0
    rate = 2 * one["training_macs"] / one["training_step"]["median_seconds"]
    assert one["training_step"]["macs_per_second"] == pytest.approx(rate)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu(capsys: Capture) -> None:
    document = measured(capsys, *TINY, ALL, "--device=cuda", "--dim=256", "--batch=64")
    assert document["unavailable"] == {}
    for one in document["models"]:
        assert one["forward"]["peak_bytes"] > 4 * one["params"]
        assert 0 < one["training_step"]["mfu"] == one["training_step"]["hfu"] < 1
        assert one["training_step"]["peak_bytes"] > 16 * one["params"]  # AdamW's states, too


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("bench", "--tokens=9"), "2 times did not settle to 5%, {}: attn, forward 50%; attn, "),
        (
            ("compare", "--tokens=9", "--up-to=9", "--mixers=attn,aft", "--measure"),
            "2 times did not settle to 5%, {}: attn ",
        ),
    ],
)
@pytest.mark.usefixtures("quick")
def test_times_that_did_not_settle_are_told(
    words: tuple[str, ...], sentence: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsteady(calls: Mapping[str, Any], *_: Any, **__: Any) -> dict[str, timing.Timing]:
        return {name: timing.Timing((1.0, 2.0, 3.0)) for name in calls}

    monkeypatch.setattr(timed, "take_turns", unsteady)
    assert run([*words, "--dim=16", "--heads=2", "--format=csv"]) == 0
    err = capsys.readouterr().err
    assert err.startswith(f"vitprof: {sentence.format('interquartile range over median')}")
    assert err.endswith("; give a longer --budget\n")


RAISES = """
import torch
from torch import nn


class Raises(nn.Linear):
    def forward(self, x):
        if type(x) is torch.Tensor and not x.is_meta:  # neither a fake tensor nor one of no data
            {}
        return super().forward(x)


def make():
    return Raises(5, 2)
"""


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("code", "said_last"),
    [("dict()['key']", "KeyError: 'key'"), ("exit(3)", "SystemExit: 3")],
)
def test_a_module_that_raises_when_it_runs(
    code: str, said_last: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "raises.py"
    file.write_text(RAISES.format(code))
    sentence = said(capsys, "bench", f"--module={file}:make", "--input=5", *BRIEF, code=2)
    assert f"forward cannot be run at batch 1 in fp32 on cpu: {said_last}" in sentence
