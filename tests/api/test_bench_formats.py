"""Benchmarks in every format: their figures follow from the medians."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from fractions import Fraction
from io import StringIO
from xml.etree import ElementTree

import pytest
from rich.console import Console

from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.measuring.timing import MatrixProduct, Timing
from vitprof.report.bench import Benchmark, DataSheet, MeasuredModel, Speed
from vitprof.request.budget import Budget
from vitprof.values.options import Value

SHEET = DataSheet(gpu="A GPU of the table", dtype="bf16", tflops=0.002)  # 1e9 MACs per second


def speed(
    *samples: float,
    first: float,
    macs: int | None,
    peak_bytes: int | None,
    recomputed: int | None = None,
) -> Speed:
    return Speed(
        recomputed=recomputed,
        sheet=SHEET.macs_per_second,
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
        "training step": speed(
            1.0, 2.0, 3.0, first=2.0, macs=12 * 10**8, recomputed=4 * 10**8, peak_bytes=None
        ),
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
                training_macs=12 * 10**8,
                recomputed_macs=4 * 10**8,
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
        sheet=SHEET,
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
        "mfu": 0.2,
        "hfu": None,  # it is not said what is recomputed
        "peak_bytes": 3145728,
        "predicted_seconds": None,  # of no GPU
    }
    assert (other["forward"]["ratio"], other["training_step"]["ratio"]) == (2, 2)
    assert other["training_step"]["images_per_second"] == 1.5
    training = attn["training_step"]
    assert training["macs_per_second"] == 6e8  # 1.2e9 in 2 s
    assert (training["mfu"], training["hfu"]) == (0.6, 0.8)  # of 1e9; with 4e8 recomputed
    assert [other["training_step"][name] for name in ("macs_per_second", "mfu", "hfu")] == 3 * [
        None
    ]
    assert (attn["training_macs"], attn["recomputed_macs"]) == (12 * 10**8, 4 * 10**8)
    assert document["data_sheet"] == {
        "gpu": "A GPU of the table",
        "dtype": "bf16",
        "tflops": 0.002,
    }
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
    assert [row["macs_per_second"] for row in rows] == [
        *("200000000.0", "600000000.0", "150000000.0", "")
    ]
    assert [row["mfu"] for row in rows] == ["0.2", "0.6", "0.15", ""]
    assert [row["hfu"] for row in rows] == ["", "0.8", "", ""]
    assert [row["training_macs"] for row in rows] == ["1200000000", "1200000000", "", ""]


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
        ["training MACs", "1,200,000,000", "n/a"],
        ["recomputed MACs", "400,000,000", "n/a"],
        ["GMAC/s", "0.60", "n/a"],
        ["MFU", "60.0%", "n/a"],
        ["HFU", "80.0%", "n/a"],
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
    assert sum(row[0] == "MFU" for row in cells) == 1  # of the training step alone
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
    assert [*frame["macs_per_second"].isna()] == [False, False, False, True]
    assert [str(frame[name].dtype) for name in ("params", "peak_bytes")] == ["Int64", "Int64"]


def test_modules_have_their_reference(benchmark: Benchmark) -> None:
    """A module has no mixer, and its reference stands for the model."""
    spec: dict[str, Value] = {"module": "torch.nn:Linear", "inputs": "10"}
    modules = replace(benchmark, models=tuple(replace(one, spec=spec) for one in benchmark.models))
    rows = list(csv.DictReader(StringIO(modules.to_csv())))
    assert {(row["model"], row["mixer"]) for row in rows} == {("torch.nn:Linear", "")}
    assert [one["mixer"] for one in json.loads(modules.to_json())["models"]] == [None, None]
