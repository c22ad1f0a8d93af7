"""Sweeps that are refused, on the command line and from Python."""

from __future__ import annotations

import re
from typing import Any

import pytest
from commands import Capture, said

import vitprof
from vitprof.errors import SpecError
from vitprof.formulas.mixers import MIXERS
from vitprof.report.sweep import Sweep
from vitprof.request.workload import Workload

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
            "activation is not a number and cannot be swept; give one value, gelu, relu, silu, "
            "quick-gelu, squared-relu or star-relu, and sweep another option",
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
            "image size is an option of mae, classifier and pyramid, not of layer with attn",
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
            "there is no measure 'flops'; known are params, macs, training_macs, memory, batch, "
            "time and gpu_time",
        ),
        (
            ("--tokens=8,9", "--y=,"),
            "no measure is given; give --y with params, macs, training_macs, memory, batch, time "
            "or gpu_time",
        ),
        (
            ("--tokens=8,9", "--y=time"),
            "time is measured on this machine or predicted for a GPU; give --measure with it, or "
            "--gpu, such as h100",
        ),
        (
            ("--tokens=8,9", "--y=gpu-time", "--measure"),
            "the time of a step is predicted on a GPU; give --gpu, such as h100",
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
