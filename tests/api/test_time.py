"""`vitprof.time`: rows that add up, what is said of kernels and GPUs, and refusals."""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import Any

import pytest
import torch
from commands import Capture, refused
from h100 import H100
from torch import nn

import vitprof
from vitprof.allocation.roofline import Bound, total
from vitprof.allocation.step import launches
from vitprof.cli import run
from vitprof.cuda.speed import FOUND
from vitprof.errors import SpecError
from vitprof.report.sweep import Sweep
from vitprof.report.time import Time
from vitprof.request.specs import specify
from vitprof.request.workload import Workload

TINY: dict[str, Any] = {"image_size": 8, "patch_size": 4, "dim": 24, "depth": 3, "heads": 3}
LARGE: dict[str, Any] = {"tokens": 4096, "dim": 768, "heads": 12, "batch": 16, "dtype": "bf16"}


@pytest.mark.parametrize("words", [{}, {"checkpoint": True}, {"inference": True}])
@pytest.mark.parametrize("fold", [False, True])
def test_rows_add_up_to_the_step(words: dict[str, Any], fold: bool) -> None:
    report = vitprof.time("classifier", gpu="h100", batch=3, fold=fold, **TINY, **words)
    whole = report.whole
    for some in (report.rows, [row for row in report.tree if row.level == 1]):
        found = total(row.whole for row in some)
        for name in ("launches", "macs", "read", "written"):
            assert getattr(found, name) == getattr(whole, name)
        assert found.device == pytest.approx(whole.device)
        assert found.host == pytest.approx(whole.host)
    parts = [report.seconds_of(cost) for cost in report.phases.values()]
    assert sum(parts) == pytest.approx(report.seconds)
    own = launches(
        specify("classifier", options=TINY), Workload(batch=3, device="cuda", **words), H100
    )
    assert whole.launches == sum(one.has_kernel for some in own.values() for one in some)
    assert whole.bytes == sum(one.bytes for some in own.values() for one in some)


def test_bytes_of_a_row_have_a_formula() -> None:
    report = vitprof.time("classifier", gpu="h100", batch=3, fold=False, **TINY)
    rows = {row.path: row for row in report.rows}
    for row in report.rows:
        for phase, size in row.sizes.items():
            assert size.value == row.phases[phase].bytes
    fc1 = rows["blocks.1.mlp.fc1"]
    assert fc1.formula("forward") == "4 × hidden + 4 × (B × N) × D + 4 × D × hidden + " + (
        "4 × (B × N) × hidden"
    )
    assert fc1.phases["forward"].bytes == 4 * (96 + 15 * 24 + 24 * 96 + 15 * 96)


def test_formats_have_the_same_figures(capsys: Capture) -> None:
    words = ["time", "--model=layer", "--tokens=9", "--gpu=h100", "--batch=2"]
    assert run([*words, "--format=json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert run([*words, "--format=csv"]) == 0
    rows = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in rows] == [row["path"] for row in document["rows"]]
    for row, own in zip(rows, document["rows"], strict=True):
        assert float(row["seconds"]) == own["seconds"]
        assert int(row["macs"]) == own["macs"]
        assert sum(int(row[f"{name}_bytes"]) for name in ("forward", "backward", "optimizer")) == (
            own["bytes_read"] + own["bytes_written"]
        )
    seconds = [row["seconds"] for row in document["rows"]]
    assert document["totals"]["seconds"] == pytest.approx(sum(seconds))
    assert document["found"]["median"] == FOUND.median


def test_a_small_step_waits_for_the_host_and_a_large_one_does_not() -> None:
    small = vitprof.time("layer", gpu="h100", tokens=9)
    assert small.waits_for_host
    assert {small.bound_of(row.whole) for row in small.rows} == {Bound.LAUNCHES}
    assert "the GPU waits for the host" in small.text()
    large = vitprof.time("layer", mixer="linear", gpu="h100", **LARGE)
    assert not large.waits_for_host
    assert large.bound_of({row.path: row for row in large.rows}["mlp.fc1"].whole) is Bound.COMPUTE
    assert large.bound_of({row.path: row for row in large.rows}["mlp.act"].whole) is Bound.MEMORY


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        ({"mixer": "attn"}, set()),
        ({"mixer": "lambda"}, {"convolutions of one channel"}),
        ({"mixer": "conv"}, {"depthwise convolutions"}),
        ({"mixer": "fourier"}, {"Fourier transforms"}),
        ({"mixer": "attn", "dim": 64, "heads": 1, "batch": 1}, {"softmax"}),
    ],
    ids=lambda words: str(words),
)
def test_kernels_that_are_known_less_well_are_named(words: dict[str, Any], kinds: set[str]) -> None:
    tokens = 4096 if kinds else 2048
    report = vitprof.time("layer", gpu="h100", **{**LARGE, "tokens": tokens, **words})
    assert {*report.cautions} == kinds
    for kind in kinds:
        assert kind in report.text()


def test_what_the_prediction_is_worth_is_told() -> None:
    measured, other = (
        vitprof.time("layer", gpu=name, tokens=9).brief().text() for name in ("h100", "a100-80")
    )
    for text in (measured, other):
        assert "of 244 steps that were measured on an H100" in " ".join(text.split())
    assert "not measured" not in measured
    assert "no step was measured on A100 SXM4 80GB" in " ".join(other.split())


@pytest.mark.parametrize("keep", [False, True])
def test_every_batch_of_a_step_counts(keep: bool) -> None:
    one, three = (
        vitprof.time("layer", gpu="h100", tokens=9, accumulate=times, keep_gradients=keep)
        for times in (1, 3)
    )
    assert three.whole.macs == 3 * one.whole.macs
    assert three.phases["forward"].launches == 3 * one.phases["forward"].launches
    assert three.phases["optimizer"].launches == one.phases["optimizer"].launches
    # From the second batch on each gradient is added to the one that is there.
    added = 0 if keep else 2 * 12
    assert three.phases["backward"].launches == 3 * one.phases["backward"].launches + added


def test_a_module_is_traced() -> None:
    module = nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 5))
    report = vitprof.time(module, torch.zeros(7, 12), gpu="h100")
    assert isinstance(report, Time)
    rows = {row.path: row for row in report.rows}
    assert rows["0"].phases["forward"].macs == 7 * 12 * 20
    assert rows["0"].phases["forward"].read == 4 * (7 * 12 + 12 * 20 + 20)
    assert rows["2"].phases["backward"].macs == 2 * 7 * 20 * 5
    assert report.whole.macs == 7 * (2 * 12 * 20 + 3 * 20 * 5)  # the input wants no gradient
    assert rows["adamw"].whole.bytes == 21 * 4 * (12 * 20 + 20 + 20 * 5 + 5)


SIDES: dict[str, Any] = {"mixers": ["attn", "linear"], "fused": True, **LARGE}


def test_a_sweep_has_the_same_times_and_where_their_order_changes() -> None:
    words = {**SIDES, "tokens": "1024:8192:x2"}
    swept = vitprof.sweep("layer", measures=["time"], gpu="h100", **words)
    assert swept.measures == ("gpu_time", "batch")
    own = {"attn": {"fused": True}, "linear": {}}
    for point in swept.points:
        options = {**LARGE, "tokens": point.at["tokens"], **own[point.curve]}
        report = vitprof.time("layer", mixer=point.curve, gpu="h100", **options)
        assert point.values["gpu_time"] == report.seconds
    found = [one for one in swept.crossovers if one.measure == "gpu_time"]
    assert [(one.cheaper, one.at) for one in found] == [("attn", 1024), ("linear", 4096)]
    assert Sweep.from_json(swept.to_json()) == swept
    assert "gpu_time_seconds" in swept.to_csv().splitlines()[0]
    assert swept.to_figure("svg").startswith(b"<")
    assert "predicted time of a step on H100 SXM5 80GB" in swept.text()


def test_a_comparison_has_the_same_times() -> None:
    compared = vitprof.compare("layer", gpu="h100", up_to=64, **SIDES)
    assert "gpu_time" in compared.measures
    own: tuple[dict[str, Any], ...] = ({"fused": True}, {})
    for side, options in zip(compared.sides, own, strict=True):
        report = vitprof.time("layer", mixer=side.name, gpu="h100", **LARGE, **options)
        assert side.amounts["gpu_time"] == report.seconds
    assert "time on the GPU" in compared.text()
    # The table has no peak of this GPU in bf16, so there is no time.
    other = vitprof.compare("layer", gpu="v100-16", up_to=64, **SIDES)
    assert "gpu_time" not in other.measures


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "the time of a step is that on a GPU; give --gpu, such as h100"),
        (("--gpu=h101",), "there is no GPU 'h101'"),
        (("--gpu=a100",), "'a100' is the name of several GPUs; give a100-40 or a100-80"),
        (("--gpu=v100-16", "--dtype=bf16"), "the table has no peak of Tesla V100"),
        (("--gpu=h100", "--torch=9.9"), "the rules of torch 9.9 are not known"),
        (("--gpu=h100", "--batch=0"), "batch 0 is out of range"),
    ],
)
def test_refusal(capsys: Capture, words: tuple[str, ...], sentence: str) -> None:
    assert refused(capsys, "time", "--tokens=9", *words).startswith(f"vitprof: {sentence}")


def test_a_step_of_the_cpu_is_refused() -> None:
    with pytest.raises(SpecError, match="leave out device cpu"):
        vitprof.time("layer", gpu="h100", device="cpu")
    with pytest.raises(SpecError, match="loss is that of a module"):
        vitprof.time("layer", gpu="h100", loss=lambda output: output)
