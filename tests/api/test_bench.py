"""`vitprof bench`: its statistics with a fake clock, and real runs of the command."""

from __future__ import annotations

import csv
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from io import StringIO
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from pyarrow import parquet
from rich.console import Console

import vitprof
from vitprof.cli import run
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.measuring import timing
from vitprof.measuring.timing import MIN_TURNS, MatrixProduct, Protocol, Timing, take_turns
from vitprof.report.batch_size import PredictedBatch
from vitprof.report.bench import Benchmark, MeasuredModel, Speed
from vitprof.request.budget import Budget
from vitprof.running import step
from vitprof.values.options import Value

Capture = pytest.CaptureFixture[str]

TINY = ("bench", "--tokens=9", "--dim=16", "--heads=2", "--threads=1", "--budget=1")
ALL = "--mixers=attn,lambda,linear"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short turns and one small matrix product."""
    monkeypatch.setattr(timing, "TURN", 0.001)
    monkeypatch.setattr(timing, "_SIDES", (32,))


def said(capsys: Capture, *words: str, code: int) -> str:
    """Run a command line that is refused; return its error sentence."""
    assert run(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vitprof: ")
    assert err.count("\n") == 1
    return err


def measured(capsys: Capture, *words: str) -> dict[str, Any]:
    """Return the JSON that a command line prints."""
    assert run([*words, "--format=json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    document: dict[str, Any] = json.loads(out)
    return document


class Clock:
    """A clock that advances only by the durations that calls report."""

    def __init__(self) -> None:
        self.now = 0.0
        self.made: list[str] = []

    def __call__(self) -> float:
        return self.now

    def call(self, name: str, seconds: Iterator[float]) -> Callable[[], None]:
        def pass_time() -> None:
            self.made.append(name)
            self.now += next(seconds)

        return pass_time

    def measure(self, calls: dict[str, Iterator[float]], **limits: Any) -> dict[str, Timing]:
        """Time calls of these durations; each turn begins with one call that is not measured."""
        made = {name: self.call(name, seconds) for name, seconds in calls.items()}
        protocol = Protocol(threads=1, **limits)
        return take_turns(made, protocol, say=lambda message: None, clock=self)


def test_turns() -> None:
    clock = Clock()
    timings = clock.measure({"a": repeat(1.0), "b": repeat(2.0)})
    assert clock.made == ["a", "a", "b", "b"] * MIN_TURNS
    assert timings == {"a": Timing((1.0,) * 3), "b": Timing((2.0,) * 3)}


def test_calls_that_warm_up_are_not_measured() -> None:
    assert Clock().measure({"a": cycle([5.0, 1.0])}) == {"a": Timing((1.0,) * 3)}


def test_short_calls_are_measured_many_at_a_time() -> None:
    clock = Clock()
    (timing,) = clock.measure({"a": repeat(1e-5)}).values()
    assert timing.quartiles == pytest.approx((1e-5,) * 3)
    assert clock.now > 3 * 0.2


def test_turns_end_when_the_spread_is_small() -> None:
    # Measured are 9, 1, 1, 1, ...: with five, three quarters are at most 1.
    seconds = chain([1.0, 9.0], repeat(1.0))
    timings = Clock().measure({"steady": repeat(1.0), "late": seconds})
    assert timings["late"].samples == (9.0, 1.0, 1.0, 1.0, 1.0)
    assert timings["steady"].samples == (1.0,) * 5


def test_turns_end_when_the_time_is_over() -> None:
    clock = Clock()
    (timing,) = clock.measure({"a": cycle([1.0, 1.0, 1.0, 3.0])}, budget=30).values()
    # Two turns take 6 s; the first turn after which 30 s are over is the tenth.
    assert (clock.now, len(timing.samples)) == (30.0, 10)
    assert timing.spread > 0.05


def test_three_turns_whatever_the_time() -> None:
    (timing,) = Clock().measure({"a": repeat(100.0)}, budget=1).values()
    assert timing.samples == (100.0,) * MIN_TURNS


def test_quartiles() -> None:
    timing = Timing((5.0, 1.0, 4.0, 2.0, 3.0))
    assert timing.quartiles == (2.0, 3.0, 4.0)
    assert timing.median == 3.0
    assert timing.spread == 2 / 3


def test_peak_is_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_SIDES", (8, 64, 16))
    monkeypatch.setattr(timing, "TURN", 0.001)
    seen: list[str] = []
    limits = Protocol(threads=1)
    peak = timing.fastest_product(torch.device("cpu"), torch.float32, limits, say=seen.append)
    assert [message.split()[2] for message in seen] == ["8", "64", "16"]
    assert peak.side == 64  # more work for the same call
    assert peak.macs_per_second == 64**3 / peak.seconds
    monkeypatch.setattr(timing, "_LONG", 0)
    seen.clear()
    timing.fastest_product(torch.device("cpu"), torch.float32, limits, say=seen.append)
    assert len(seen) == 1


def speed(*samples: float, first: float, macs: int | None, peak_bytes: int | None) -> Speed:
    return Speed(
        timing=Timing(samples),
        images=6,
        macs=macs,
        first=first,
        peak=1e9,
        peak_bytes=peak_bytes,
    )


@pytest.fixture
def benchmark() -> Benchmark:
    """Two mixers, the second twice as slow; the first one's training is unsteady."""
    spec: dict[str, Value] = {
        "model": "mae",
        "mixer": "attn",
        "mask_ratio": Fraction("0.75"),
        "fused": False,
    }
    attn = {
        "forward": speed(0.002, 0.002, first=0.002, macs=400_000, peak_bytes=3 * 2**20),
        "training step": speed(1.0, 2.0, 3.0, first=2.0, macs=None, peak_bytes=None),
    }
    other = {
        "forward": speed(0.004, 0.004, first=0.002, macs=600_000, peak_bytes=2**20 // 2),
        "training step": speed(4.0, 4.0, first=2.0, macs=None, peak_bytes=None),
    }
    changed: dict[str, Value] = {
        "model": "mae",
        "mixer": "lambda",
        "mask_ratio": Fraction("0.75"),
        "key_depth": 16,
    }
    return Benchmark(
        model="mae",
        workload={"batch": 6, "dtype": "bf16"},
        conditions={"device": "a GPU", "threads": "3"},
        versions={"torch": "2"},
        protocol="how",
        bound=0.05,
        peak=MatrixProduct(1000, 0.5),
        budget=Budget(bytes=3 * 2**30),
        models=(
            MeasuredModel(
                name="attn",
                spec=spec,
                params=1234,
                macs=400_000,
                peak_bytes=5 * 2**20,
                largest=7,
                speeds=attn,
            ),
            MeasuredModel(
                name="lambda",
                spec=changed,
                params=999,
                macs=600_000,
                peak_bytes=2**30,
                largest=0,
                speeds=other,
            ),
        ),
        unavailable={"memory": "a reason"},
    )


def test_figures_follow_from_the_medians(benchmark: Benchmark) -> None:
    document = json.loads(benchmark.to_json())
    assert document["matrix_product"] == {"side": 1000, "seconds": 0.5, "macs_per_second": 2e9}
    attn, other = document["models"]
    assert attn["forward"] == {
        "median_seconds": 0.002,
        "lower_quartile_seconds": 0.002,
        "upper_quartile_seconds": 0.002,
        "spread": 0,
        "samples": 2,
        "ratio": 1,
        "images_per_second": 3000,  # 6 in 2 ms
        "macs_per_second": 2e8,  # 400,000 in 2 ms
        "share_of_peak": 0.2,
        "peak_bytes": 3145728,
    }
    assert (other["forward"]["ratio"], other["training_step"]["ratio"]) == (2, 2)
    assert other["training_step"]["images_per_second"] == 1.5
    assert other["training_step"]["macs_per_second"] is None
    assert attn["spec"]["mask_ratio"] == 0.75
    assert (document["settled"], document["unsettled"]) == (False, {"attn, training step": 0.5})


def test_csv(benchmark: Benchmark) -> None:
    rows = list(csv.DictReader(StringIO(benchmark.to_csv()), strict=True))
    assert [(row["name"], row["step"], row["ratio"]) for row in rows] == [
        ("attn", "forward", "1.0"),
        ("attn", "training step", "1.0"),
        ("lambda", "forward", "2.0"),
        ("lambda", "training step", "2.0"),
    ]
    assert {(row["model"], row["name"], row["mixer"]) for row in rows} == {
        ("mae", "attn", "attn"),
        ("mae", "lambda", "lambda"),
    }
    assert {row["batch"] for row in rows} == {"6"}
    assert [row["macs_per_second"] for row in rows] == ["200000000.0", "", "150000000.0", ""]


def test_table(benchmark: Benchmark) -> None:
    text = StringIO()
    Console(file=text, width=80).print(benchmark)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    cells = [re.split(r"  +", line.strip()) for line in lines]
    assert lines[0] == "Speed of mae, batch 6, on a GPU"
    for row in (
        ["attn", "lambda"],
        ["params", "1,234", "999"],
        ["forward MACs", "400,000", "600,000"],
        ["median", "2.00 ms", "4.00 ms"],
        ["over attn", "1.00", "2.00"],
        ["images/s", "3,000", "1,500"],
        ["GMAC/s", "0.20", "0.15"],
        ["of matrix product", "20.0%", "15.0%"],
        ["training memory, predicted", "5.0 MiB", "1.00 GiB"],
        ["largest batch in 3.00 GiB", "7", "0"],
        ["peak memory", "3.0 MiB", "524,288 bytes"],
        ["lower quartile", "1.50 s", "4.00 s"],
        ["upper quartile", "2.50 s", "4.00 s"],
        ["peak memory", "n/a", "n/a"],
        ["memory, n/a", "a reason"],
        ["unsettled", "interquartile range over median: attn, training step 50%"],
        ["spec", "model mae, mask ratio 0.75"],
        ["attn", "fused False"],
        ["lambda", "key depth 16"],
    ):
        assert row in cells
    assert sum(row[0] == "GMAC/s" for row in cells) == 1  # of the forward pass alone
    assert max(map(len, lines)) <= 80


def test_narrow_table_cuts_no_figure(benchmark: Benchmark) -> None:
    text = StringIO()
    Console(file=text, width=30).print(benchmark)
    assert "…" not in text.getvalue()
    assert max(len(line.rstrip()) for line in text.getvalue().splitlines()) <= 30


def test_table_of_one_has_no_ratios(benchmark: Benchmark) -> None:
    text = StringIO()
    one = replace(benchmark, models=benchmark.models[:1])
    Console(file=text, width=80).print(one)
    assert "over attn" not in text.getvalue()
    assert "mixer attn, mask ratio 0.75, fused False" in text.getvalue()


def test_gpu_of_the_largest_batch_is_named(benchmark: Benchmark) -> None:
    platform = Platform(gpu=find_gpu("rtx3090"), torch=(2, 11))
    on_gpu = replace(benchmark, budget=Budget(bytes=3 * 2**30, platform=platform))
    cells = [re.split(r" *\| *", line)[1:-1] for line in on_gpu.to_markdown().splitlines()]
    assert ["largest batch on GeForce RTX 3090", "7", "0"] in cells
    found = json.loads(on_gpu.to_json())
    assert (found["budget_bytes"], found["gpu"], found["torch"]) == (
        *(3 * 2**30, "GeForce RTX 3090"),
        "2.11",
    )
    plain = json.loads(benchmark.to_json())
    assert plain["budget_bytes"] == 3 * 2**30
    assert {"gpu", "torch"} & plain.keys() == set()
    none = json.loads(replace(benchmark, budget=None).to_json())
    assert {"budget_bytes", "gpu", "torch"} & none.keys() == set()


def test_markdown(benchmark: Benchmark) -> None:
    lines = benchmark.to_markdown().splitlines()
    assert lines[0] == "**Speed of mae, batch 6, on a GPU**"
    cells = [re.split(r" *\| *", line)[1:-1] for line in lines if line.startswith("|")]
    assert cells[0] == ["", "attn", "lambda"]
    # A row says by itself of which step it is.
    assert ["forward, median", "2.00 ms", "4.00 ms"] in cells
    assert ["training step, median", "2.00 s", "4.00 s"] in cells
    assert "- memory, n/a: a reason" in lines
    assert "- lambda: key depth 16" in lines


def test_html(benchmark: Benchmark) -> None:
    page = ElementTree.fromstring(benchmark.to_html())
    rows = [["".join(cell.itertext()).strip() for cell in row] for row in page.iter("tr")]
    assert rows[0] == ["", "attn", "lambda"]
    assert ["forward MACs", "400,000", "600,000"] in rows
    assert ["of matrix product", "20.0%", "15.0%"] in rows
    assert ["training step", "", ""] in rows
    assert [cell.text for cell in page.iter("b")][:2] == [
        "Speed of mae, batch 6, on a GPU",
        "forward",
    ]


def test_latex(benchmark: Benchmark) -> None:
    text = benchmark.to_latex()
    assert "\nforward MACs & 400,000 & 600,000 \\\\\n" in text
    assert "\n\\quad of matrix product & 20.0\\% & 15.0\\% \\\\\n" in text
    assert "\n\\textbf{training step} &  &  \\\\\n" in text


def test_frame(benchmark: Benchmark) -> None:
    frame = benchmark.to_frame()
    assert [*frame["step"]] == ["forward", "training step"] * 2
    assert [*frame["params"]] == [1234, 1234, 999, 999]
    assert [*frame["ratio"]] == [1, 1, 2, 2]
    assert [*frame["macs_per_second"].isna()] == [False, True, False, True]
    assert [str(frame[name].dtype) for name in ("params", "peak_bytes")] == ["Int64", "Int64"]


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
    words = ("--image-size=32", "--depth=1", "--threads=1", "--budget=1")
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
    document = measured(capsys, *TINY, ALL, "--batch=3", "--spread=5")
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
    assert document["unavailable"].keys() == {"memory"}


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
    words = "--image-size=16 --depth=1 --decoder-depth=1 --threads=1 --budget=1 --format=json"
    monkeypatch.setattr(sys, "argv", [str(example), *words.split()])
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
    assert measured(capsys, *TINY, "--compile")["conditions"]["compiled"] == "yes"
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
    ("words", "sentence"),
    [
        ("--batch=0", "batch 0 is out of range"),
        ("--dtype=fp8", "dtype can be fp32, bf16 or fp16, not 'fp8'"),
        ("--autocast", "autocast to fp32 changes nothing"),
        ("--optimizer=adm", "optimizer can be sgd, .* not 'adm'"),
        ("--kernel=fast", "kernel can be foreach, fused or loop, not 'fast'"),
        ("--device=cuda:99", "no device 'cuda:99' here; PyTorch .* sees cpu"),
        ("--device=meta", "no device 'meta' here"),
        ("--device=", "no device '' here"),
        ("--threads=-1", "threads -1 is out of range"),
        ("--spread=0", "spread 0 is out of range"),
        ("--spread=nan", "spread nan is not a number"),
        ("--budget=soon", "budget soon is not a whole number"),
        ("--gpu=a100", "name of several GPUs; give a100-40 or a100-80$"),
        ("--memory=24", "24 bytes without a unit; give one, such as 24GiB or 24B$"),
        ("--torch=2.11", "give --gpu with it, or leave it out$"),
        ("--gpu=h100 --torch=new", "torch 'new' is no version; give one such as 2.13$"),
        ("--format=markdwn", "no format 'markdwn'; did you mean markdown"),
        ("--format=junit", "no format 'junit'; known are table, .* json and parquet$"),
        (
            "--format=parquet",
            "parquet cannot be printed to the terminal; give --output FILE.parquet",
        ),
        ("--output=speed.xml", "'speed.xml' is not that of a format; end it in .txt,"),
        ("--mixers=attn,lamda", "no mixer 'lamda'; did you mean lambda"),
        ("--mixers=,", "no mixer is named; known are attn, lambda, linear"),
        ("--mixers=attn --mixer=attn", "mixer and mixers exclude each other; give one of"),
        ("--mixers=attn --presets=vit-s-16", "mixers and presets exclude each other"),
        ("--mixers=attn,linear --key-depth=5", "key depth is an option of lambda"),
        ("--mixers=attn --classes=5", "classes is an option of classifier, not of layer"),
        ("--heads=3", "dim 16 is not divisible by 3 heads"),
    ],
)
def test_bad_request(capsys: Capture, words: str, sentence: str) -> None:
    assert re.search(sentence, said(capsys, *TINY, *words.split(), code=2))


def test_refusal_loads_no_torch() -> None:
    code = (
        "import sys; from vitprof.cli import run; assert run(['bench', '--batch=0']) == 2;"
        "assert 'vitprof.api.bench' in sys.modules; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu(capsys: Capture) -> None:
    document = measured(capsys, *TINY, ALL, "--device=cuda", "--dim=256", "--batch=64")
    assert document["unavailable"] == {}
    for one in document["models"]:
        assert one["forward"]["peak_bytes"] > 4 * one["params"]
        assert one["training_step"]["peak_bytes"] > 16 * one["params"]  # AdamW's states, too
