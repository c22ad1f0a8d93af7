"""`vitprof sweep`: ranges, formulas on arrays, the command, and interrupted sweeps."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from spellings import SPELLINGS, Spelling

import vitprof
from vitprof import specify
from vitprof.allocation.allocator import DoesNotFitError
from vitprof.allocation.largest_batch import largest_batch
from vitprof.allocation.on_gpu import OnGpu, on_gpu
from vitprof.allocation.step import peak_bytes
from vitprof.api import timed
from vitprof.api.bench import BenchError
from vitprof.cli import run
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.formulas.models.encoder_layer import EncoderLayer
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.measuring import timing
from vitprof.measuring.timing import Protocol, Timing
from vitprof.report.curves import Point
from vitprof.report.sweep import Sweep
from vitprof.request.workload import Workload
from vitprof.subject import Subject
from vitprof.sweeps.arrays import counts
from vitprof.sweeps.axis import Number, read_axis
from vitprof.sweeps.integers import Fractions, Integers
from vitprof.sweeps.points import options_of, places, read_axes
from vitprof.values.options import Option, Ratio, Whole, plain, whole
from vitprof.values.size import Size

Capture = pytest.CaptureFixture[str]

TOKENS = EncoderLayer.declared()["tokens"]
MLP_RATIO = EncoderLayer.declared()["mlp_ratio"]
FIELD = MIXERS["lambda"].declared()["receptive_field"]

SMALL = ("sweep", "--tokens=4:16:x2", "--mixers=attn,lambda", "--dim=8", "--heads=2")
MEASURED = (*SMALL, "--measure", "--threads=1", "--budget=1")


def said(capsys: Capture, *words: str) -> str:
    """Run a command line that is refused; return its error sentence."""
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vitprof: ")
    assert err.count("\n") == 1
    return err.removeprefix("vitprof: ").rstrip("\n")


def printed(capsys: Capture, *words: str) -> str:
    """Return the output of a command line."""
    assert run(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


# Ranges


@pytest.mark.parametrize(
    ("given", "option", "values"),
    [
        ("64:16384:x2", TOKENS, [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]),
        ("64:1000:x3", TOKENS, [64, 192, 576]),
        ("64:96:x1.5", TOKENS, [64, 96]),
        ("64:256:+64", TOKENS, [64, 128, 192, 256]),
        ("64:255:64", TOKENS, [64, 128, 192]),
        ("7:7:x2", TOKENS, [7]),
        ("64,65,400", TOKENS, [64, 65, 400]),
        ("1,2:16:x2,17", TOKENS, [1, 2, 4, 8, 16, 17]),
        ("50", TOKENS, [50]),
        ((3, 5), TOKENS, [3, 5]),
        (range(3, 9, 2), TOKENS, [3, 5, 7]),
        (50, TOKENS, [50]),
        ("3:9:+2", FIELD, [3, 5, 7, 9]),
        ("2:4:+0.5", MLP_RATIO, [2, Fraction(5, 2), 3, Fraction(7, 2), 4]),
        ("0.1:0.3:+0.1", MLP_RATIO, [Fraction(1, 10), Fraction(1, 5), Fraction(3, 10)]),
        ("1/3,0.5", MLP_RATIO, [Fraction(1, 3), Fraction(1, 2)]),
    ],
)
def test_range(given: object, option: Option, values: list[Number]) -> None:
    assert read_axis("tokens", given, option).values == tuple(values)


FORMS = "first:last:xFACTOR, first:last:+STEP, or values with commas between"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--tokens=",), f"the range of tokens is empty; give {FORMS}"),
        (("--tokens=8,,9",), f"the values of tokens have a comma too many; give {FORMS}"),
        (
            ("--tokens=8:9",),
            "tokens '8:9' is not a range; give a first value, a last value and a factor or step, "
            "as in 8:9:x2 or +64",
        ),
        (
            ("--tokens=128:64:x2",),
            "tokens '128:64:x2' is reversed: 128 is more than 64; give 64:128:x2",
        ),
        (
            ("--tokens=many:64:x2",),
            f"tokens 'many:64:x2' is not a range: 'many' is not a number; give {FORMS}",
        ),
        (
            ("--tokens=-4:64:x2",),
            f"tokens '-4:64:x2' is not a range: '-4' is not a number; give {FORMS}",
        ),
        (
            ("--tokens=8:64:-8",),
            f"tokens '8:64:-8' is not a range: '-8' is not a number; give {FORMS}",
        ),
        (
            ("--tokens=8:64:+0",),
            "tokens '8:64:+0' never ends; give a step above 0, as in +64",
        ),
        (
            ("--tokens=8:64:x1",),
            "tokens '8:64:x1' never ends; give a factor above 1, as in x2",
        ),
        (
            ("--tokens=0:64:x2",),
            "tokens '0:64:x2' never ends; begin above 0, or give a step",
        ),
        (
            ("--tokens=0:64:+8",),
            "tokens 0 is out of range; give a whole number from 1 to 10000000",
        ),
        (
            ("--tokens=8:41:x1.5",),
            "tokens 40.5 is not a whole number; give a whole number from 1 to 10000000",
        ),
        (
            ("--tokens=9,8",),
            "the values of tokens must ascend, but 8 comes after 9; give them in order, each once",
        ),
        (
            ("--tokens=9,9",),
            "the values of tokens must ascend, but 9 comes after 9; give them in order, each once",
        ),
        (
            ("--tokens=9", "--mixer=lambda", "--receptive-field=3:5:+1"),
            "receptive field 4 is even; give an odd number from 1 to 10001",
        ),
        (
            ("--tokens=9", "--activation=gelu,relu"),
            "activation is not a number and cannot be swept; give one value, gelu, relu or silu, "
            "and sweep another option",
        ),
        (
            ("--tokens=1:100000:+1",),
            "the range of tokens has 100,000 values, and --max-points is 10,000; give a coarser "
            "range or a larger --max-points",
        ),
        (
            ("--tokens=8:64:+8", "--heads=1,2", "--mixers=attn,linear", "--max-points=31"),
            "the grid has 2 × 8 × 2 = 32 points, and --max-points is 31; give coarser ranges or "
            "a larger --max-points",
        ),
        (
            ("--tokens=8:64:+8", "--max-points=0"),
            "max points 0 is out of range; give a whole number from 1 to 10000000",
        ),
        (
            ("--tokens=8,16", "--image-size=32"),
            "image size is an option of mae and classifier, not of layer with attn",
        ),
        (
            ("--model=mae", "--tokens=8,16"),
            "the tokens of mae follow from image size and patch size; give those, or take the "
            "model layer",
        ),
        (
            ("--tokens=8,16", "--key-depth=2,3"),
            "key depth is an option of lambda, not of layer with attn",
        ),
        (
            ("--tokens=8",),
            "nothing is swept; give an option a range, such as --tokens 64:16384:x2, "
            "--dim 64:512:+64 or --heads 2,4,8",
        ),
        (
            ("--tokens=8,9", "--dim=10", "--heads=4"),
            "dim 10 is not divisible by 4 heads; heads can be 1, 2, 5 or 10",
        ),
        (
            ("--tokens=8,10", "--mixer=pool"),
            "pool mixes neighbours on a grid, and there is none, because 8 tokens are not a square",
        ),
        (("--tokens=8,9", "--mixers="), f"no mixer is named; known are {', '.join(MIXERS)}"),
        (
            ("--tokens=8,9", "--mixers=attn", "--mixer=pool"),
            "mixer and mixers exclude each other; give one of the two",
        ),
        (
            ("--dim=384,768", "--presets=vit-s-16", "--mixers=attn"),
            "mixers and presets exclude each other; give one of the two",
        ),
        (
            ("--dim=384,768", "--presets=vit-s-16", "--model=mae"),
            "presets name the models; leave out model and preset",
        ),
        (
            ("--tokens=8,9", "--y=flops"),
            "there is no measure 'flops'; known are params, macs, memory, batch and time",
        ),
        (
            ("--tokens=8,9", "--y=,"),
            "no measure is given; give --y with params, macs, memory, batch or time",
        ),
        (
            ("--tokens=8,9", "--y=time"),
            "time is measured on this machine; give --measure with it",
        ),
        (
            ("--tokens=8,9", "--y=batch"),
            "the largest batch needs a memory budget; give --gpu, such as rtx3090, "
            "or --memory, such as 24GiB",
        ),
        (
            ("--tokens=8,9", "--budget=3"),
            "--budget needs --measure; add it, or leave out the limits of the measurement",
        ),
        (
            ("--tokens=8,9", "--resume"),
            "--resume continues a sweep that measures; add --measure",
        ),
        (
            ("--tokens=8,9", "--measure", "--resume"),
            "--resume reads a JSON file; give --output FILE.json",
        ),
        (
            ("--tokens=8,9", "--format=xml"),
            "there is no format 'xml'; known are table, markdown, latex, html, csv, json and "
            "parquet",
        ),
        (
            ("--tokens=8,9", "--format=junit"),
            "there is no format 'junit'; known are table, markdown, latex, html, csv, json and "
            "parquet",
        ),
        (
            ("--tokens=8,9", "--output=sweep.xml"),
            "the suffix of the file name 'sweep.xml' is not that of a format; end it in .txt, .md, "
            ".markdown, .tex, .html, .csv, .json or .parquet, or give --format",
        ),
        (
            ("--tokens=8,9", "--format=parquet"),
            "parquet cannot be printed to the terminal; give --output FILE.parquet",
        ),
        (
            ("--tokens=8,9", "--plot=figure.bmp"),
            "the suffix of the file name 'figure.bmp' is not that of a figure; end it in .png, "
            ".svg, .pdf or .html",
        ),
    ],
)
def test_refusal(
    words: tuple[str, ...], sentence: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*_: object, **__: object) -> None:
        raise AssertionError("something is computed")

    monkeypatch.setattr("vitprof.api.sweep._by_formula", computed)
    assert said(capsys, "sweep", *words) == sentence


def test_no_such_option_in_python() -> None:
    with pytest.raises(SpecError, match="no option to sweep named 'depht'; did you mean depth"):
        counts(specify("mae"), {"depht": [1, 2]}, Measure.MACS)
    with pytest.raises(SpecError, match="the range of depth is empty"):
        counts(specify("mae"), {"depth": []}, Measure.MACS)
    with pytest.raises(SpecError, match="positions is not a number"):
        counts(specify("layer", mixer="lambda"), {"positions": ["local"]}, Measure.MACS)


def test_any_number_of_points_in_python() -> None:
    (axis,) = read_axes([EncoderLayer()], {"tokens": "1:20000:+1"})
    assert len(axis.values) == 20_000
    with pytest.raises(SpecError, match="20,000 values"):
        read_axes([EncoderLayer()], {"tokens": "1:20000:+1"}, most=19_999)


def test_places() -> None:
    axes = read_axes([EncoderLayer()], {"tokens": "4,8", "mlp_ratio": "0.5:1:+0.5"})
    assert [*places(axes)] == [
        {"tokens": 4, "mlp_ratio": Fraction(1, 2)},
        {"tokens": 4, "mlp_ratio": 1},
        {"tokens": 8, "mlp_ratio": Fraction(1, 2)},
        {"tokens": 8, "mlp_ratio": 1},
    ]
    model = specify("layer", mixer="lambda").at({"tokens": 9, "key_depth": 3, "kv_heads": 2})
    assert model == specify("layer", mixer="lambda", options={"tokens": 9, "key_depth": 3})


# Arrays


def test_counts_by_hand() -> None:
    found = counts(
        specify("layer", options={"heads": 2}), {"tokens": [3, 9], "dim": [2, 3, 6]}, Measure.MACS
    )
    assert found.dtype == np.int64
    # 4 D² of the mixer's layers, 2 N D of its products and 8 D² of the MLP, for each token;
    # a dim of 3 has no 2 heads.
    assert found.tolist() == [
        [3 * (12 * 2**2 + 2 * 3 * 2), None, 3 * (12 * 6**2 + 2 * 3 * 6)],
        [9 * (12 * 2**2 + 2 * 9 * 2), None, 9 * (12 * 6**2 + 2 * 9 * 6)],
    ]


def test_squares_and_others() -> None:
    model = specify("layer", mixer="pool", options={"tokens": 4, "dim": 4})
    mlp = 8 * 4**2
    axes = {"tokens": [4, 5, 9], "batch": [1, 2]}
    assert counts(model, axes, Measure.MACS).tolist() == [
        [4 * mlp, 2 * 4 * mlp],
        [None, None],
        [9 * mlp, 2 * 9 * mlp],
    ]


def alone(spelling: Spelling, axes: Mapping[str, object], measure: Measure) -> list[int | None]:
    """Counts at every place by single evaluations of the formula; None if it is not defined."""
    model = spelling.specify()
    found: list[int | None] = []
    for place in places(read_axes([model], axes)):
        try:
            here = model.at(place)
        except SpecError:
            found.append(None)
        else:
            found.append(here.formula(int(place.get("batch", 1))).total(measure))
    return found


def some_axes(spelling: Spelling, choose: random.Random) -> dict[str, object]:
    """Draw three numeric options with a few values each, the default and the minimum included."""
    model = spelling.specify()
    numbers = {
        name: option
        for name, option in options_of(model).items()
        if isinstance(option, (Whole, Ratio))
    }
    usual: dict[str, Any] = {**model.values(), **model.mixer.values(), "batch": 1}
    axes: dict[str, object] = {}
    for name in choose.sample(sorted(numbers), 3):
        option, value = numbers[name], usual[name]
        if isinstance(option, Whole):
            several = {option.minimum, value, value + 1, value + 2, 2 * value, 3 * value, 16}
            values = [one for one in several if not option.odd or one % 2]
            axes[name] = sorted(one for one in values if one >= option.minimum)
        else:
            axes[name] = ["0.3", "0.5", "0.75"] if option.below == 1 else ["0.75", "1.5", "4"]
    return axes


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_arrays_equal_plain_numbers(spelling: Spelling) -> None:
    choose = random.Random(str(spelling))
    for measure in Measure:
        axes = some_axes(spelling, choose)
        found = counts(spelling.specify(), axes, measure)
        assert found.ravel().tolist() == alone(spelling, axes, measure), axes


def test_million_configurations() -> None:
    model = specify("layer", mixer="lambda", options={"heads": 4})
    axes = {"tokens": range(1, 1001), "dim": range(6, 2006, 2)}
    tracemalloc.start()
    try:
        found = counts(model, axes, Measure.MACS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.shape == (1000, 1000)
    assert peak < 200e6
    assert found.mask.sum() == 1000 * 500  # every other dim is not divisible by 4
    choose = random.Random(6)
    for _ in range(100):
        row, column = choose.randrange(1000), choose.randrange(1, 1000, 2)
        place = {"tokens": axes["tokens"][row], "dim": axes["dim"][column]}
        assert found[row, column] == model.at(place).formula().total(Measure.MACS)


def test_counts_beyond_64_bits() -> None:
    model = specify("layer", mixer="identity", options={"heads": 1, "tokens": 10_000_000})
    found = counts(model, {"dim": [1, 1_000_000], "batch": [1, 1_000_000_000]}, Measure.MACS)
    mlp = 2 * 4 * 10_000_000  # D -> 4 D -> D for each token
    assert found.dtype == object
    assert found.tolist() == [[mlp, mlp * 10**9], [mlp * 10**12, mlp * 10**12 * 10**9]]
    assert mlp * 10**21 > 2**63
    assert all(type(count) is int for count in found.ravel().tolist())
    assert counts(model, {"dim": [1, 1_000_000]}, Measure.PARAMS).dtype == np.int64


def test_intermediates_beyond_64_bits() -> None:
    a, b = Integers.of([2**40, 3]), Integers.of([2**40, 5])
    product = a * b
    assert product.values.tolist() == [2**80, 15]
    assert (product // b).values.tolist() == [2**40, 3]
    assert (product // b).values.dtype == np.int64
    assert (product - product + a).values.tolist() == [2**40, 3]
    assert (product % b).values.tolist() == [0, 0]
    assert (2**70 // a).values.tolist() == [2**30, 2**70 // 3]
    assert (a // 2**70).values.tolist() == [0, 0]
    assert (a % 2**70).values.tolist() == [2**40, 3]
    assert (2**70 - a).values.tolist() == [2**70 - 2**40, 2**70 - 3]
    assert (a**3).values.tolist() == [2**120, 27]
    # Just within and just beyond the range of int64 that is used, -2^63 < x < 2^63.
    edge = Integers.of([2**62, 1])
    assert (edge + (2**62 - 1)).values.dtype == np.int64
    assert (edge + edge).values.tolist() == [2**63, 2]
    assert (edge * -2).values.tolist() == [-(2**63), -2]
    assert (a == 3).tolist() == [False, True]
    assert (b > a).tolist() == [False, True]


def test_many_numbers_have_no_truth() -> None:
    numbers = Integers.of([1, 2])
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(numbers)
    with pytest.raises(ZeroDivisionError):
        _ = 5 // Integers.of([1, 0])
    ratios = 1 - Fractions.of([Fraction(1, 3), Fraction(3, 4)])
    assert ratios.numerator.values.tolist() == [2, 1]
    assert ratios.denominator.values.tolist() == [3, 4]


@dataclass(frozen=True, kw_only=True)
class Branching(Mixer):
    """A mixer whose formula branches on its option, directly and after an isinstance test."""

    name = "branching"
    summary = "for a test"
    source = "none"
    module = "nowhere:Branching"

    width: int = whole(7, minimum=2, help="asked whether it is more than 3")
    secret: int = whole(5, minimum=2, help="9 stands for another number")

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        width = 2 * self.width if self.width > 3 else self.width
        secret = 100 if isinstance(self.secret, int) and self.secret == 9 else self.secret
        run.parameter("table", Size(width), Size(secret))
        return x


def test_formulas_that_branch() -> None:
    model = EncoderLayer(mixer=Branching(), tokens=1, dim=4, heads=1)
    rest = EncoderLayer(mixer=MIXERS["identity"](), dim=4, heads=1).formula().total(Measure.PARAMS)
    axes = {"width": [2, 3, 4, 5], "secret": [6, 7, 9], "tokens": [1, 2, 3]}
    found = counts(model, axes, Measure.PARAMS)
    widths, secrets = {2: 2, 3: 3, 4: 8, 5: 10}, {6: 6, 7: 7, 9: 100}
    assert found[:, :, 2].tolist() == [
        [rest + widths[width] * secrets[secret] for secret in secrets] for width in widths
    ]


# A sweep


def test_sweep_is_what_formulas_say() -> None:
    found = vitprof.sweep(
        workload=Workload(device="cpu", dtype="bf16"),
        mixers=["attn", "lambda", "pool"],
        measures=["params", "macs", "memory", "batch"],
        memory="1000000B",
        dim=8,
        heads=2,
        tokens="4:16:x2",
        batch="1,3",
    )
    assert found.size == len(found.points) == 3 * 3 * 2
    assert [*found.axes.items()] == [("tokens", (4, 8, 16)), ("batch", (1, 3))]
    assert found.curves == ("attn", "lambda", "pool")
    assert found.complaint == ""
    for point in found.points:
        tokens, batch = (int(point.at[name]) for name in ("tokens", "batch"))
        options = {"tokens": tokens, "dim": 8, "heads": 2}
        if point.curve == "pool" and tokens == 8:
            assert set(point.values.values()) == {None}
            assert point.reason.endswith("8 tokens are not a square")
            continue
        model = specify("layer", mixer=point.curve, options=options)
        step = Workload(device="cpu", dtype="bf16", batch=batch)
        assert point.values == {
            "params": model.formula().total(Measure.PARAMS),
            "macs": model.formula(batch).total(Measure.MACS),
            "memory": peak_bytes(model, step),
            "batch": largest_batch(model, step, 10**6),
        }
        assert point.reason == ""


def test_batches_of_a_gpu_are_those_that_fit_it() -> None:
    """One image more does not fit what the GPU has beside its context."""
    found = vitprof.sweep(
        mixers=["attn", "lambda"],
        measures=["batch"],
        gpu="rtx3090",
        torch="2.11",
        dim=8,
        heads=2,
        tokens=(4, 16),
    )
    platform = Platform(gpu=find_gpu("rtx3090"), torch=(2, 11))
    of_gpu = {"budget_bytes": platform.gpu.memory_bytes, "gpu": "GeForce RTX 3090"}
    written = json.loads(found.to_json())["workload"]
    assert written | of_gpu | {"torch": "2.11"} == written
    assert len(found.points) == 4
    for point in found.points:
        options = {"tokens": point.at["tokens"], "dim": 8, "heads": 2}
        model = specify("layer", mixer=point.curve, options=options)
        batch = point.values["batch"]
        assert isinstance(batch, int)
        assert on_gpu_of(model, batch, platform).reserved <= platform.capacity
        with pytest.raises(DoesNotFitError):
            on_gpu_of(model, batch + 1, platform)
        assert batch < largest_batch(model, Workload(), platform.gpu.memory_bytes)


def on_gpu_of(model: Subject, batch: int, platform: Platform) -> OnGpu:
    return on_gpu(model, Workload(batch=batch), platform, capacity=platform.capacity)


def test_options_of_one_mixer_leave_others_as_they_are() -> None:
    found = vitprof.sweep(
        "layer",
        mixers=["attn", "lambda"],
        measures=["params"],
        dim=8,
        heads=2,
        key_depth="2,4",
        tokens="4,8",
    )
    own = {
        curve: [point.values["params"] for point in found.points if point.curve == curve]
        for curve in found.curves
    }
    assert len(own["attn"]) == 4
    assert len(set(own["attn"])) == 1
    # The layer's h k + k more outputs, and its kernel of 81 and a bias for each of k.
    (first, _, second, _) = own["lambda"]
    assert second is not None
    assert first is not None
    more = 2 * (2 + 1)
    norms = 2 * 2 * 2  # gain and bias of h more for each of the 2
    assert second - first == more * (8 + 1) + norms + 2 * (81 + 1)


def test_conditions() -> None:
    over_tokens = partial(vitprof.sweep, "layer", dim=8, tokens="4,8")
    both = ["attn", "linear"]
    found = over_tokens(Workload(batch=3), mixers=both, measures=["macs"])
    assert found.workload == {"batch": 3}
    assert found.spec["dim"] == 8
    assert "tokens" not in found.spec
    assert "mixer" not in found.spec
    # Conditions that both have are printed once.
    assert found.own["attn"]["kv_heads"] == 0
    of_attn = specify("layer", options={"dim": 8}).conditions()
    assert {**found.spec, **found.own["attn"], "mixer": "attn", "tokens": 50} == {
        name: plain(value) for name, value in of_attn.items()
    }
    assert found.conditions == {}
    assert over_tokens(mixers=both, measures=["params"]).workload == {}
    steps = over_tokens(mixers=both, measures=["memory"], dtype="bf16").workload
    assert steps["dtype"] == "bf16"
    alone = over_tokens(mixers=["attn"], measures=["macs"])
    assert alone.spec["mixer"] == "attn"


def test_presets(capsys: Capture) -> None:
    words = ("sweep", "--presets=vit-s-16,mixer-s-16", "--image-size=224,256", "--y=params,macs")
    document = json.loads(printed(capsys, *words, "--format=json"))
    assert document["curves"] == ["vit-s-16", "mixer-s-16"]
    for point in document["points"]:
        options = {"preset": point["curve"], "image_size": point["at"]["image_size"]}
        formula = specify(options=options).formula()
        assert point["values"] == {
            "params": formula.total(Measure.PARAMS),
            "macs": formula.total(Measure.MACS),
        }
    changed = ("sweep", "--preset=vit-s-16", "--mixers=attn,lambda", "--dim=384,768", "--y=params")
    document = json.loads(printed(capsys, *changed, "--format=json"))
    assert document["spec"]["preset"] == "vit-s-16"
    assert document["points"][0]["values"]["params"] == 22_050_664  # as published
    linear = ("sweep", "--presets=vit-s-16", "--mixer=linear", "--dim=384,768", "--y=macs")
    document = json.loads(printed(capsys, *linear, "--format=json"))
    model = specify(mixer="linear", options={"preset": "vit-s-16", "dim": 384})
    assert document["points"][0]["values"]["macs"] == model.formula().total(Measure.MACS)
    assert "no preset 'vit-s'" in said(capsys, "sweep", "--presets=vit-s", "--dim=384,768")


def test_crossings_are_where_the_points_cross() -> None:
    """Compare each crossover with all points of the range."""
    found = vitprof.sweep(
        "layer",
        mixers=["attn", "lambda", "linear"],
        measures=["macs", "memory"],
        heads=2,
        tokens="2:160:+1",
        dim="8,16",
    )
    values = {
        (point.curve, point.at["tokens"], point.at["dim"]): point.values for point in found.points
    }
    assert {crossover.option for crossover in found.crossovers} == {"tokens"}
    begun = 0
    for crossover in found.crossovers:
        dim, measure = crossover.fixed["dim"], crossover.measure
        assert crossover.searched == (2, 160)

        def cheaper(tokens: int, crossover: Any = crossover, dim: Any = dim) -> bool:
            one = values[crossover.cheaper, tokens, dim][crossover.measure]
            other = values[crossover.than, tokens, dim][crossover.measure]
            assert one is not None
            assert other is not None
            return one < other

        if crossover.at is None:
            assert not any(cheaper(tokens) for tokens in range(2, 161))
            continue
        assert cheaper(crossover.at)
        assert crossover.at == 2 or not cheaper(crossover.at - 1)
        assert crossover.value == values[crossover.cheaper, crossover.at, dim][measure]
        begun += crossover.at > 2
    assert begun > 3


def test_no_crossings_along_a_ratio() -> None:
    found = vitprof.sweep(
        "layer", mixers=["attn", "linear"], measures=["macs"], mlp_ratio="1:4:+0.5"
    )
    assert len(found.points) == 2 * 7
    assert found.crossovers == ()


def test_values_none_of_which_fits() -> None:
    with pytest.raises(SpecError, match="dim 10 is not divisible by 4 heads"):
        vitprof.sweep("layer", heads=4, dim="10,11")
    first, second = vitprof.sweep("layer", measures=["macs"], heads=4, dim="10,12").points
    assert (first.values, second.reason) == ({"macs": None}, "")
    assert first.reason.startswith("dim 10 is not divisible by 4 heads")


def test_frame() -> None:
    found = vitprof.sweep(
        "layer",
        mixer="identity",
        measures=["macs", "params"],
        heads=1,
        dim="4,1000000",
        batch="1,1000000000",
    )
    frame = found.to_frame()
    assert [*frame] == ["curve", "dim", "batch", "macs", "params", "reason"]
    assert frame["params"].dtype == "Int64"
    assert frame["macs"].tolist()[-1] == 50 * 8 * 10**12 * 10**9


# The command


def test_formats(capsys: Capture) -> None:
    rows = [*csv.reader(StringIO(printed(capsys, *SMALL, "--format=csv")))]
    document = json.loads(printed(capsys, *SMALL, "--format=json"))
    assert rows[0] == ["curve", "tokens", "macs", "memory_bytes", "reason"]
    assert rows[1:] == [
        [
            point["curve"],
            *(
                str(point[where][name])
                for where, name in (("at", "tokens"), ("values", "macs"), ("values", "memory"))
            ),
            "",
        ]
        for point in document["points"]
    ]
    assert (document["schema"], document["command"]) == ("vitprof/2", "sweep")
    again = Sweep.from_json(json.dumps(document))
    assert json.loads(again.to_json()) == document
    again = replace(again, charts=True)
    assert printed(capsys, *SMALL, "--format=latex") == again.to_latex()
    html = printed(capsys, *SMALL, "--format=html")
    assert html == again.to_html()
    page = ElementTree.fromstring(html)
    tables = [[[cell.text for cell in row] for row in table.iter("tr")] for table in page]
    macs_of_attn = [f"{tokens * (12 * 8**2 + 2 * tokens * 8):,}" for tokens in (4, 8, 16)]
    assert [row[:2] for row in tables[1]] == [
        ["tokens", "attn"],
        *([tokens, macs] for tokens, macs in zip(("4", "8", "16"), macs_of_attn, strict=True)),
    ]
    assert [(chart.text or "").splitlines()[0] for chart in page.iter("pre")] == [
        "MACs of a forward pass, log scale",
        "peak memory of a training step",
    ]
    markdown = printed(capsys, *SMALL, "--format=markdown")
    macs = 4 * (12 * 8**2 + 2 * 4 * 8)
    assert f"|        4 |  {macs:,} |" in markdown
    assert "- spec: model layer," in markdown
    assert "```text\nMACs of a forward pass" in markdown
    assert markdown == again.to_markdown()


def test_a_sweep_says_the_same_in_python_and_on_the_command_line(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = vitprof.sweep(tokens="4:16:x2", mixers=["attn", "lambda"], dim=8, heads=2)
    for name, text in (
        ("csv", found.to_csv()),
        ("json", found.to_json()),
        ("markdown", found.to_markdown()),
        ("latex", found.to_latex()),
        ("html", found.to_html()),
    ):
        assert printed(capsys, *SMALL, "--no-chart", f"--format={name}") == text
    monkeypatch.setenv("COLUMNS", "160")
    assert printed(capsys, *SMALL, "--no-chart") == f"{found}\n"


@pytest.mark.parametrize("width", [80, 160])
def test_table(width: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = printed(capsys, *SMALL, "--mixers=attn,lambda,pool")
    lines = text.splitlines()
    assert lines[0] == "layer over tokens: attn, lambda, pool"
    assert max(map(len, lines)) <= width
    assert "\x1b" not in text
    assert not any(line != line.rstrip() for line in lines)
    rows = [line.split() for line in lines]
    assert ["tokens", "attn", "lambda", "pool"] in rows
    macs = 8 * (12 * 8**2 + 2 * 8 * 8)
    assert any(row[:2] == ["8", f"{macs:,}"] and row[-1] == "n/a" for row in rows)
    assert "pool, n/a   at 1 of 3 points: pool mixes neighbours" in text
    assert [*["attn", "lambda", "the", "first,", "4", "the", "first,", "4"]] in rows
    assert "MACs of a forward pass" in text
    assert "o attn   x lambda   + pool" in text
    without = printed(capsys, *SMALL, "--no-chart")
    assert "o attn" not in without


def test_no_number_is_broken(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves that do not fit the width are printed in further tables."""
    monkeypatch.setenv("COLUMNS", "60")
    curves = ["attn", "lambda", "linear", "performer", "xca", "hydra"]
    words = ("sweep", "--tokens=100000,200000", f"--mixers={','.join(curves)}", "--y=macs")
    text = printed(capsys, *words, "--no-chart")
    document = json.loads(printed(capsys, *words, "--format=json"))
    assert max(map(len, text.splitlines())) <= 60
    heads = [line.split() for line in text.splitlines() if line.split()[:1] == ["tokens"]]
    assert len(heads) > 1
    assert [curve for head in heads for curve in head[1:]] == curves
    cells = text.split()
    assert cells.count("200,000") == len(heads)
    for point in document["points"]:
        assert f"{point['values']['macs']:,}" in cells


def test_a_pipe_is_as_wide_as_the_curves_need(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    curves = [name for name, mixer in MIXERS.items() if not mixer().needs_grid]
    words = ("sweep", "--tokens=100,200", f"--mixers={','.join(curves)}", "--y=macs", "--no-chart")
    lines = printed(capsys, *words).splitlines()
    assert [line.split() for line in lines if line.startswith("tokens")] == [["tokens", *curves]]
    assert len(next(line for line in lines if line.startswith("tokens"))) > 160


def test_files(tmp_path: Path, capsys: Capture) -> None:
    for name, begins in (
        ("a.csv", "curve,"),
        ("a.json", "{"),
        ("a.md", "**layer over tokens: attn, lambda**"),
        ("a.txt", "layer"),
        ("a.tex", "% needs \\usepackage{booktabs}"),
        ("a.html", '<div class="vitprof">'),
    ):
        assert printed(capsys, *SMALL, f"--output={tmp_path / name}") == ""
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)
    figure = tmp_path / "a.svg"
    printed(capsys, *SMALL, f"--plot={figure}")
    assert "<svg" in figure.read_text(encoding="utf-8")
    assert "no directory" in said(capsys, *SMALL, f"--plot={tmp_path / 'none' / 'a.svg'}")


def test_parquet(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitprof.cli.output.find_spec", lambda name: None)
    sentence = said(capsys, *SMALL, f"--output={tmp_path / 'a.parquet'}")
    assert sentence == (
        "parquet needs pyarrow, which is not installed; run pip install vitprof[parquet], or "
        "write .csv"
    )
    assert not [*tmp_path.iterdir()]


def test_parquet_where_pyarrow_is(tmp_path: Path, capsys: Capture) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "a.parquet"
    words = ("sweep", "--model=layer", "--dim=8,1000000", "--batch=1,1000000000", "--heads=1,3")
    printed(capsys, *words, "--mixers=identity", "--tokens=50", "--y=macs", f"--output={file}")
    table = parquet.read_table(file)
    document = json.loads(
        printed(capsys, *words, "--mixers=identity", "--tokens=50", "--y=macs", "--format=json")
    )
    column = [None if count is None else int(count) for count in table["macs"].to_pylist()]
    assert None in column
    assert column == [point["values"]["macs"] for point in document["points"]]
    assert max(count for count in column if count is not None) > 2**63
    about = json.loads(table.schema.metadata[b"vitprof"])
    assert about["axes"] == {"heads": [1, 3], "dim": [8, 1_000_000], "batch": [1, 1_000_000_000]}


# Measured


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
    assert rows[0] == ["curve", "tokens", "macs", "time_seconds", "reason"]
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
    assert said(capsys, *words, "--resume", *change) == f"{sentence}; give another file"
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
    assert sentence in said(capsys, *words, "--resume", *change)
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


def test_the_file_is_whole_at_every_moment(tmp_path: Path) -> None:
    """A real process, interrupted by a real signal in the middle of its work."""
    file = tmp_path / "sweep.json"
    words = (*MEASURED, "--mixers=attn", "--tokens=4:4096:x2", f"--output={file}")
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


def test_point_without_a_value_is_empty() -> None:
    point = Point(curve="attn", at={"tokens": 4}, values={"macs": None}, reason="why, not")
    found = Sweep(
        spec={},
        workload={},
        versions={},
        convention="",
        axes={"tokens": (4,)},
        curves=("attn",),
        measures=("macs",),
        points=(point,),
        crossovers=(),
    )
    assert found.to_csv() == 'curve,tokens,macs,reason\nattn,4,,"why, not"\n'


def test_models_are_all_tried() -> None:
    assert {spelling.model for spelling in SPELLINGS} == {*MODELS}


# From Python


def test_a_sweep_from_python() -> None:
    """One encoder layer of width 12: 12 N D^2 + 2 N^2 D; linear attention has another product."""
    D, d = 12, 4
    found = vitprof.sweep(
        "layer", mixers=["attn", "linear"], measures=["macs"], tokens=(8, 64), dim=D, heads=3
    )
    assert [(point.curve, point.at["tokens"], point.values["macs"]) for point in found.points] == [
        ("attn", 8, 8 * 12 * D**2 + 2 * 8**2 * D),
        ("attn", 64, 64 * 12 * D**2 + 2 * 64**2 * D),
        ("linear", 8, 8 * 12 * D**2 + 2 * 8 * D * d + 8 * D),
        ("linear", 64, 64 * 12 * D**2 + 2 * 64 * D * d + 64 * D),
    ]


def test_a_sweep_over_the_batch_from_python() -> None:
    found = vitprof.sweep("layer", measures=["macs", "memory"], batch="2:4:+1", dtype="bf16")
    assert found.axes == {"batch": (2, 3, 4)}
    assert found.workload["dtype"] == "bf16"
    by_formula = [
        peak_bytes(vitprof.specify("layer"), Workload(batch=batch, dtype="bf16"))
        for batch in (2, 3, 4)
    ]
    assert [point.values["memory"] for point in found.points] == by_formula


def test_a_sweep_of_presets_with_one_mixer_from_python() -> None:
    found = vitprof.sweep(
        presets=["vit-s-16"], mixer="linear", measures=["macs"], image_size=(224, 256)
    )
    by_formula = [
        specify(mixer="linear", options={"preset": "vit-s-16", "image_size": size})
        .formula()
        .total(Measure.MACS)
        for size in (224, 256)
    ]
    assert [point.values["macs"] for point in found.points] == by_formula


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


def test_a_sweep_can_be_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def computed(*_: object, **__: object) -> None:
        raise AssertionError("something is computed")

    def refuse(wanted: Sweep) -> None:
        assert (wanted.points, wanted.size) == ((), 2)
        raise SpecError(f"no {wanted.measures[0]} along {next(iter(wanted.axes))}")

    monkeypatch.setattr("vitprof.api.sweep._by_formula", computed)
    with pytest.raises(SpecError, match=r"^no params along tokens$"):
        vitprof.sweep("layer", tokens=(8, 9), measures=["params"], before=refuse)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"presets": ["vit-s-16"], "mixers": ["attn"], "depth": "1:4:x2"},
            "mixers and presets exclude each other; give one of the two",
        ),
        (
            {"presets": ["vit-s-16"], "model": "classifier", "depth": "1:4:x2"},
            "presets name the models; leave out model and preset",
        ),
        (
            {"presets": ["vit-s-16"], "preset": "vit-s-16", "depth": "1:4:x2"},
            "presets name the models; leave out model and preset",
        ),
        ({"mixer": "attn", "mixers": ["attn"], "tokens": (8, 9)}, "mixer and mixers exclude"),
        ({"model": "layer"}, "nothing is swept"),
        (
            {"tokens": (8, 9), "mixers": ["attn", "linear"], "max_points": 3},
            "has 2 × 2 = 4 points, and --max-points is 3",
        ),
        ({"tokens": (8, 9), "max_points": 0}, "max points 0 is out of range"),
        ({"tokens": (8, 9), "dtype": "fp32,bf16"}, "dtype can be fp32, bf16 or fp16, not"),
        ({"tokens": (8, 9), "checkpoint": (True, False)}, "checkpoint is on or off"),
        (
            {"tokens": (8, 9), "workload": Workload(batch=3), "batch": 4},
            "no option of layer with attn named 'batch'",
        ),
        ({"tokens": (8, 9), "memory": "1GiB", "gpu": "h100"}, "give one of the two"),
        ({"tokens": (8, 9), "torch": "2.11"}, "give --gpu with it, or leave it out"),
        ({"tokens": (8, 9), "gpu": "a100"}, "several GPUs; give a100-40 or a100-80"),
        ({"tokens": (8, 9), "memory": "24"}, "24 bytes without a unit; give one, such as 24GiB"),
    ],
)
def test_what_a_sweep_from_python_refuses(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=re.escape(sentence)):
        vitprof.sweep(**given)
