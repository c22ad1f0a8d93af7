"""`vitprof compare`: its amounts against other commands, its sentences by hand."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from pyarrow import parquet
from rich.console import Console

import vitprof
from vitprof.allocation.allocator import DoesNotFitError
from vitprof.allocation.largest_batch import largest_batch
from vitprof.allocation.on_gpu import on_gpu
from vitprof.allocation.step import peak_bytes
from vitprof.cli import run
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.measuring import timing
from vitprof.measuring.timing import Timing
from vitprof.report.batch_size import PredictedBatch
from vitprof.report.compare import Comparison, CostedStretch, Crossover
from vitprof.request.budget import Budget
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.sweeps.costs import COSTS

Capture = pytest.CaptureFixture[str]

SIZES: dict[str, Any] = {"tokens": 49, "dim": 12, "heads": 3}
NAMES = ["attn", "lambda", "pool"]
WORDS = ("compare", "--tokens=49", "--dim=12", "--heads=3", "--mixers=attn,lambda,pool")
SHORT = (*WORDS, "--up-to=20")


def said(capsys: Capture, *words: str) -> str:
    """Run a command line that is refused; return its error sentence."""
    assert run(["compare", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vitprof: ")
    assert err.count("\n") == 1
    return err


def printed(capsys: Capture, *words: str) -> str:
    """Return the output of a command line."""
    assert run(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def document(capsys: Capture, *words: str) -> dict[str, Any]:
    """Return the JSON that a command line prints."""
    made: dict[str, Any] = json.loads(printed(capsys, *words, "--format=json"))
    return made


# Amounts


def test_amounts_are_those_of_the_other_commands(capsys: Capture) -> None:
    found = document(capsys, *SHORT, "--batch=5", "--dtype=bf16", "--memory=3GiB")
    assert (found["schema"], found["command"]) == ("vitprof/2", "compare")
    assert found["measures"] == ["params", "macs", "memory", "batch"]
    assert found["budget_bytes"] == 3 * 2**30
    assert {"gpu", "torch"} & found.keys() == set()
    assert [model["name"] for model in found["models"]] == NAMES
    workload = Workload(batch=5, dtype="bf16")
    for model in found["models"]:
        mixer, amounts = model["name"], model["amounts"]
        spec = specify("layer", mixer=mixer, options=SIZES)
        alone: dict[str, Any] = {"mixer": mixer, "counters": ["analytic"], **SIZES}
        assert amounts == {
            "params": vitprof.params("layer", **alone).total,
            "macs": vitprof.macs("layer", batch=5, **alone).total,
            "memory": peak_bytes(spec, workload),
            "batch": largest_batch(spec, workload, 3 * 2**30),
        }
        first = found["models"][0]["amounts"]
        assert model["ratios"] == {name: amounts[name] / first[name] for name in first}
        assert model["spec"]["mixer"] == mixer


@pytest.mark.parametrize(("words", "torch"), [((), "2.13"), (("--torch=1.13",), "1.13")])
def test_the_batch_of_a_gpu_fits_it_with_all_that_it_adds(
    words: tuple[str, ...], torch: str, capsys: Capture
) -> None:
    found = document(capsys, *SHORT, "--dtype=bf16", "--gpu=H100", *words)
    gpu, version = find_gpu("h100"), {"2.13": (2, 13), "1.13": (1, 13)}[torch]
    platform = Platform(gpu=gpu, torch=version)
    assert found["budget_bytes"] == gpu.memory_bytes
    assert (found["gpu"], found["torch"]) == ("H100 SXM5 80GB", torch)
    room = gpu.memory_bytes - gpu.context_bytes
    for model in found["models"]:
        spec = specify("layer", mixer=model["name"], options=SIZES)
        batch, step = model["amounts"]["batch"], Workload(dtype="bf16")
        assert on_gpu(spec, replace(step, batch=batch), platform, capacity=room).reserved <= room
        with pytest.raises(DoesNotFitError):
            on_gpu(spec, replace(step, batch=batch + 1), platform, capacity=room)
        assert batch < largest_batch(spec, step, gpu.memory_bytes)
        alone: dict[str, Any] = {"mixer": model["name"], "dtype": "bf16", "trace": False, **SIZES}
        alone_on_gpu = vitprof.batch_size("layer", gpu="h100", torch=torch, **alone)
        assert isinstance(alone_on_gpu, PredictedBatch)
        assert alone_on_gpu.largest is not None
        assert alone_on_gpu.largest.batch == batch


def test_the_version_of_torch_changes_the_batch() -> None:
    """Before PyTorch 2.0 cuBLAS takes no workspace from PyTorch's memory."""
    old, new = (
        vitprof.compare(
            "layer", mixers=["attn", "lambda"], gpu="h100", torch=torch, up_to=9, **SIZES
        )
        for torch in ("1.13", "2.0")
    )
    for before, after in zip(old.sides, new.sides, strict=True):
        assert before.amounts["batch"] > after.amounts["batch"]


def test_the_batch_of_a_gpu_is_that_of_its_kernels() -> None:
    """The CPU, on which time is measured, has other kernels, which take other memory."""
    batches = [
        [
            side.amounts["batch"]
            for side in vitprof.compare(
                *("layer",),
                mixers=["lambda", "linear"],
                gpu="h100",
                device=device,
                dtype="bf16",
                up_to=9,
                **SIZES,
            ).sides
        ]
        for device in ("cuda", "cpu")
    ]
    assert batches[0] == batches[1]


def test_ratios_are_to_the_first(capsys: Capture) -> None:
    (_, other, _) = document(capsys, *SHORT[:-2], "--mixers=pool,attn,lambda")["models"]
    # attn has 4 12² + 4 12 parameters beside the 2 48 12 + 48 + 12 + 48 of the rest.
    assert other["amounts"]["params"] == 4 * 144 + 48 + 1_260
    assert other["ratios"]["params"] == (4 * 144 + 48 + 1_260) / 1_260


def test_a_ratio_to_nothing_is_none() -> None:
    report = vitprof.compare("layer", mixers=["attn", "pool"], memory="1kiB", up_to=9, **SIZES)
    assert [side.amounts["batch"] for side in report.sides] == [0, 0]
    assert [side.ratios["batch"] for side in report.sides] == [None, None]
    (line,) = (line for line in report.to_markdown().splitlines() if line.startswith("| pool "))
    *others, batch, ratio = (cell.strip() for cell in line.split("|")[1:-1])
    assert (batch, ratio) == ("0", "")
    assert [cell[:1] for cell in others[2::2]] == ["×"] * 3


def test_each_mixer_takes_its_own_options(capsys: Capture) -> None:
    found = document(capsys, *SHORT, "--key-depth=5", "--fused")
    assert [model["spec"].get("key_depth") for model in found["models"]] == [None, 5, None]
    assert [model["spec"].get("fused") for model in found["models"]] == [True, None, None]


def test_command_and_function_agree(capsys: Capture) -> None:
    report = vitprof.compare("layer", mixers=NAMES, up_to=20, batch=2, **SIZES)
    assert json.loads(report.to_json()) == document(capsys, *SHORT, "--batch=2")


def test_models_given_whole() -> None:
    models = {
        f"{depth} blocks": specify("classifier", options={"depth": depth}) for depth in (2, 3)
    }
    report = vitprof.compare(models=models, up_to=12)
    assert [side.name for side in report.sides] == ["2 blocks", "3 blocks"]
    assert "depth" not in report.spec
    assert [report.own(side) for side in report.sides] == [{"depth": 2}, {"depth": 3}]
    with pytest.raises(vitprof.SpecError, match="already built; leave out model, mixers"):
        vitprof.compare("classifier", models=models)


def test_presets(capsys: Capture) -> None:
    words = ("--presets=vit-s-16,vit-b-16", "--image-size=32", "--up-to=64")
    found = document(capsys, "compare", *words)
    report = vitprof.compare(presets=["vit-s-16", "vit-b-16"], image_size=32, up_to=64)
    assert json.loads(report.to_json()) == found
    small, large = found["models"]
    assert (small["name"], small["spec"]["preset"], small["spec"]["dim"]) == ("vit-s-16",) * 2 + (
        384,
    )
    assert (
        large["amounts"]["params"]
        == vitprof.params(preset="vit-b-16", image_size=32, counters=["analytic"]).total
    )
    linear = document(capsys, "compare", *words, "--mixer=linear")["models"]
    assert [model["spec"]["mixer"] for model in linear] == ["linear"] * 2
    # One configuration with several mixers.
    mixed = document(capsys, "compare", "--preset=vit-s-16", "--mixers=attn,hydra", "--up-to=64")
    assert [model["spec"]["preset"] for model in mixed["models"]] == ["vit-s-16"] * 2
    with pytest.raises(vitprof.SpecError, match="presets name the models; leave out model"):
        vitprof.compare("mae", presets=["vit-s-16", "vit-b-16"])


def test_models_of_a_check_file(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "two.toml"
    file.write_text(
        '[[expect]]\nname = "wide"\nspec = { tokens = 9, dim = 24, heads = 3 }\nmax_macs = 10\n'
        '[[expect]]\nname = "deep"\nspec = { model = "classifier", depth = 2 }\nmax_macs = 10\n'
    )
    found = document(capsys, "compare", f"--specs={file}", "--up-to=12")
    assert [model["name"] for model in found["models"]] == ["wide", "deep"]
    assert found["models"][1]["spec"]["depth"] == 2
    # By default no crossover is searched along an option that only one of the mixers has.
    assert found["unsearched"] == {"deep": "it has no option tokens to search along; give --along"}
    assert document(capsys, "compare", f"--specs={file}", "--along=dim", "--up-to=30")["crossovers"]
    assert "--specs gives complete models" in said(capsys, f"--specs={file}", "--dim=12")
    file.write_text(file.read_text().replace("deep", "wide"))
    assert "are called 'wide'; give them different names" in said(capsys, f"--specs={file}")


# Layers


def test_layers_that_differ(capsys: Capture) -> None:
    found = document(
        capsys,
        *("compare", "--model=classifier", "--dim=12", "--heads=3", "--depth=2", "--layers"),
        *("--pool=mean", "--mixers=attn,hydra,pool", "--up-to=20"),
    )
    layers = {layer.pop("path"): layer["counts"] for layer in found["layers"]}
    # Two blocks at 49 tokens: attention's 4 D² and 2 N² D, hydra's 4 D² alone, pooling nothing.
    assert layers["blocks.0-1.mixer"]["macs"] == {
        "attn": 2 * (4 * 49 * 144 + 2 * 49 * 49 * 12),
        "hydra": 2 * 4 * 49 * 144,
        "pool": None,
    }
    assert layers["blocks.0-1.mixer.qkv"]["params"] == {
        "attn": 2 * (3 * 144 + 36),
        "hydra": 2 * (3 * 144 + 36),
        "pool": None,
    }
    assert "blocks.0-1.mlp" not in layers
    assert "blocks" not in layers  # of whose equal blocks the next row says all
    assert [*layers] == [
        *["blocks.0-1", "blocks.0-1.mixer", "blocks.0-1.mixer.qkv"],
        *["blocks.0-1.mixer.scores", "blocks.0-1.mixer.output", "blocks.0-1.mixer.fc_out"],
    ]


def test_what_only_one_has_stands_where_it_has_it() -> None:
    models = {
        mixer: specify("layer", mixer=mixer, options={"tokens": 50})
        for mixer in ("nystrom", "attn")
    }
    for some in (models, dict(reversed(models.items()))):
        paths = [d.path for d in vitprof.compare(models=some, layers=True, up_to=40).layers]
        assert {"mixer.inverse.0-5", "mixer.inverse.0-5.product", "mixer.scores"} <= {*paths}
        inside = [path for path in paths if path.startswith("mixer.inverse")]
        at = paths.index(inside[0])
        assert paths[at : at + len(inside)] == inside
        assert paths[-1] == "mixer.output"


# Crossovers


def test_the_question_of_the_report(capsys: Capture) -> None:
    out = printed(
        capsys,
        *("compare", "--model=layer", "--dim=128", "--heads=8", "--activation=gelu"),
        *("--mixers=attn,lambda", "--along=tokens", "--format=markdown"),
    )
    # At one token, attn 4 128² + 2 128 and lambda 128 160 + 16 16 + 2 8 16 16 + 16 81 16 MACs,
    # beside 8 128² of the MLP; from there on, the difference only grows.
    attn, other = 4 * 128**2 + 2 * 128, 128 * 160 + 256 + 4_096 + 20_736
    assert (
        f"\n\nlambda is cheaper than attn in MACs everywhere, from 1 to 65,536 tokens "
        f"({8 * 128**2 + other:,} against {8 * 128**2 + attn:,} at 1)\n\n"
    ) in out
    # One token of one image has no deviation, which the lambda layer's norms train with.
    assert "\nlambda is cheaper than attn in peak memory everywhere, from 2 to 65,536 tokens" in out


def test_from_where_on(capsys: Capture) -> None:
    # As test_crossover.py derives: 128 N² against 12,800 N.
    found = document(capsys, "compare", "--tokens=50", "--mixers=attn,lambda")
    (params, macs, memory) = found["crossovers"]
    rest = 101 * 8 * 64**2
    attn, other = rest + 16_384 * 101 + 128 * 101**2, rest + 29_184 * 101
    assert macs["sentence"] == (
        f"lambda is cheaper than attn in MACs from 101 tokens on ({other:,} against {attn:,})"
    )
    assert macs["cheaper"] == [{"first": 101, "last": 65_536, "cost": other, "other": attn}]
    rest = 8 * 64**2
    assert macs["dearer"] == [
        {"first": 1, "last": 99, "cost": rest + 16_384 + 128, "other": rest + 29_184}
    ]
    assert (params["first"], params["last"], params["option"]) == (1, 65_536, "tokens")
    first = memory["cheaper"][-1]["first"]
    assert memory["cheaper"][-1]["cost"] == peak_bytes(
        specify("layer", mixer="lambda", options={"tokens": first}), Workload()
    )


def crossover(
    cheaper: tuple[tuple[int, int], ...], dearer: tuple[tuple[int, int], ...], **others: Any
) -> Crossover:
    """Build a crossover from 4 to 1,024 tokens, with 7,000 and 8,000 more MACs than tokens."""
    own, than = 7_000, 8_000
    usual: dict[str, Any] = {"measure": "macs", "option": "tokens", "unit": "tokens"}
    given = {**usual, "squares": False, **others}
    return Crossover(
        name="one",
        than="other",
        first=4,
        last=1024,
        cheaper=tuple(
            CostedStretch(first=a, last=b, cost=a + own, other=a + than) for a, b in cheaper
        ),
        dearer=tuple(
            CostedStretch(first=a, last=b, cost=a + own, other=a + than) for a, b in dearer
        ),
        **given,
    )


@pytest.mark.parametrize(
    ("cheaper", "dearer", "options", "sentence"),
    [
        (
            ((9, 1024),),
            ((4, 8),),
            {},
            "one is cheaper than other in MACs from 9 tokens on (7,009 against 8,009)",
        ),
        (
            ((4, 1024),),
            (),
            {"measure": "memory"},
            "one is cheaper than other in peak memory everywhere, from 4 to 1,024 tokens "
            "(7,004 against 8,004 bytes at 4)",
        ),
        (
            (),
            ((4, 1024),),
            {},
            "one is dearer than other in MACs everywhere, from 4 to 1,024 tokens "
            "(8,004 against 7,004 at 4)",
        ),
        (
            (),
            ((9, 1024),),
            {"option": "image_size", "unit": "pixels"},
            "one is nowhere cheaper than other in MACs, from image size 4 to 1,024, and dearer "
            "from image size 9 on",
        ),
        (
            (),
            (),
            {"measure": "params"},
            "one costs the same as other in parameters, from 4 to 1,024 tokens",
        ),
        (
            ((4, 8),),
            ((10, 1024),),
            {},
            "one is cheaper than other in MACs up to 8 tokens; other is from 10 tokens on "
            "(7,010 against 8,010)",
        ),
        (((4, 8),), (), {}, "one is cheaper than other in MACs up to 8 tokens, and nowhere dearer"),
        (
            ((5, 5), (9, 16)),
            ((4, 4), (20, 30)),
            {"option": "dim", "unit": ""},
            "one is cheaper than other in MACs at dim 5 and from dim 9 to 16; other is at dim 4 "
            "and from dim 20 to 30",
        ),
        (
            ((4, 5), (7, 9), (11, 12), (20, 1024)),
            ((6, 6),),
            {},
            "one is cheaper than other in MACs up to 5 tokens, in 2 stretches after that and from "
            "20 tokens on (7,020 against 8,020)",
        ),
        (
            ((1024, 1024),),
            ((4, 1023),),
            {},
            "one is cheaper than other in MACs at 1,024 tokens (8,024 against 9,024)",
        ),
    ],
)
def test_sentences(cheaper: Any, dearer: Any, options: Mapping[str, Any], sentence: str) -> None:
    assert crossover(cheaper, dearer, **options).sentence == sentence


def test_no_crossover_has_a_reason(capsys: Capture) -> None:
    words = ("compare", "--tokens=49", "--mixers=attn,nystrom,pool", "--up-to=20")
    found = document(capsys, *words)
    assert {crossover["name"] for crossover in found["crossovers"]} == {"pool"}
    assert "landmarks 32 are more than the 20 tokens" in found["unsearched"]["nystrom"]
    lines = printed(capsys, *words).splitlines()
    assert any(line.startswith("nystrom, no crossover  there is no size from") for line in lines)
    assert any(line.startswith("crossovers ") and "pool only at square" in line for line in lines)


# What is refused


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "nothing is given to compare; give --mixers, such as attn,lambda,linear, or"),
        (("--mixers=attn",), "a comparison needs at least two models, not attn alone; add another"),
        (("--presets=vit-s-16",), "at least two models, not vit-s-16 alone; add another"),
        (("--presets=vit-s-16,vit-s",), "there is no preset 'vit-s'; did you mean vit-"),
        (("--presets=vit-s-16,deit-s", "--mixers=attn,linear"), "mixers and presets exclude"),
        (("--presets=vit-s-16,deit-s", "--model=mae"), "presets name the models; leave out"),
        (("--mixers=attn,attention",), "a comparison needs at least two models, not attn alone"),
        (("--mixers=,",), "no mixer is named; known are attn, "),
        (
            ("--mixer=attn", "--mixers=attn,lambda"),
            "mixer and mixers exclude each other; give one",
        ),
        (("--mixers=attn,lamda",), "there is no mixer 'lamda'; did you mean lambda? known are"),
        (("--mixers=attn,linear", "--budget=3"), "--budget needs --measure; add it"),
        (
            ("--mixers=attn,linear", "--along=token"),
            "no option to search along named 'token'; known",
        ),
        (
            ("--mixers=attn,linear", "--along=mlp-ratio"),
            "mlp ratio is not a whole number; crossovers",
        ),
        (("--mixers=attn,linear", "--up-to=few"), "up to few is not a whole number"),
        (("--mixers=attn,linear", "--up-to=65537"), "give a whole number from 1 to 65536"),
        (("--mixers=attn,linear", "--gpu=h10"), "there is no GPU 'h10'; did you mean h100?"),
        (("--mixers=attn,linear", "--gpu=h100", "--memory=1GiB"), "both name the memory"),
        (("--mixers=attn,linear", "--gpu=v100"), "several GPUs; give v100-16 or v100-32"),
        (("--mixers=attn,linear", "--torch=2.11"), "give --gpu with it, or leave it out"),
        (("--mixers=attn,linear", "--gpu=h100", "--torch=3.0"), "give a version from 1.12 to 2.13"),
        (("--mixers=attn,linear", "--memory=24"), "without a unit; give one, such as 24GiB or 24B"),
        (("--mixers=attn,linear", "--memory=much"), "memory 'much' is not a memory size"),
        (("--mixers=attn,linear", "--device=tpu"), "device can be cuda or cpu, not 'tpu'"),
        (("--mixers=attn,linear", "--format=htm"), "there is no format 'htm'; did you mean html?"),
        (
            ("--mixers=attn,linear", "--format=junit"),
            "there is no format 'junit'; known are table,",
        ),
        (("--mixers=attn,linear", "--output=a.xml"), "'a.xml' is not that of a format; end it"),
        (("--mixers=attn,linear", "--kernel-size=3"), "kernel size is an option of conv, not of"),
        (("--mixers=attn,pool",), "pool mixes neighbours on a grid, and there is none"),
        (("--specs=nowhere.toml",), "cannot read nowhere.toml"),
    ],
)
def test_refusals(words: tuple[str, ...], sentence: str, capsys: Capture) -> None:
    assert sentence in said(capsys, *words)


def test_a_batch_needs_a_budget() -> None:
    model = specify("layer", options=SIZES)
    with pytest.raises(vitprof.SpecError, match="needs a memory budget; give --gpu, such as h100"):
        COSTS["batch"](model, Workload(), None)
    budget = Budget(bytes=2**30)
    assert COSTS["batch"](model, Workload(), budget) == largest_batch(model, Workload(), 2**30)


# Formats


@pytest.fixture(scope="module")
def report() -> Comparison:
    return vitprof.compare(
        "layer", mixers=["linear", *NAMES], gpu="h100", layers=True, up_to=200, **SIZES
    )


def table(report: Comparison, width: int) -> list[str]:
    text = StringIO()
    Console(file=text, width=width).print(report)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_table(report: Comparison) -> None:
    lines = table(report, 160)
    cells = [re.split(r"  +", line.strip()) for line in lines]
    assert lines[0] == "Comparison of linear, attn, lambda and pool in layer, batch 1"
    assert cells[2] == ["parameters", "MACs", "peak memory", "largest batch on H100 SXM5 80GB"]
    by_name = {side.name: side.amounts for side in report.sides}
    (row,) = (row for row in cells if row[0] == "lambda" and "×" in row[-1])
    own, first = by_name["lambda"], by_name["linear"]
    assert row[1:3] == [f"{own['params']:,}", f"×{own['params'] / first['params']:.2f}"]
    (row_of_first,) = (row for row in cells if row[:2] == ["linear", f"{first['params']:,}"])
    assert "×" not in "".join(row_of_first)
    assert row[3:5] == [f"{own['macs']:,}", f"×{own['macs'] / first['macs']:.2f}"]
    for crossing in report.crossovers:
        assert crossing.sentence in lines
    assert any(line.startswith("lambda ") and "key depth 16" in line for line in lines)


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_narrow_table_cuts_no_figure(report: Comparison, width: int) -> None:
    lines = table(report, width)
    assert max(map(len, lines)) <= width
    text = "".join("".join(line.split()) for line in lines)
    assert "…" not in text
    for side in report.sides:
        assert f"{side.amounts['macs']:,}" in text


def test_a_tables_parts_say_all(report: Comparison) -> None:
    narrow = table(report, 40)
    headings = [line.split() for line in narrow if "that differ" in line]
    assert headings[0][:3] == ["parameters", "that", "differ"]
    assert sum(line.startswith("lambda  ") and "×" in line for line in narrow) > 1
    # A part leaves out the layers that none of its models has.
    starts = [place for place, line in enumerate(narrow) if "that differ" in line]
    rows = [row for start in starts for row in narrow[start + 2 : narrow.index("", start)]]
    assert len(starts) > 2
    assert all(re.search(r"\d", row) for row in rows)


def test_layers_in_a_table_stand_below_those_they_are_in() -> None:
    report = vitprof.compare("mae", mixers=["attn", "lambda"], layers=True, up_to=16)
    lines = table(report, 100)
    start = next(n for n, line in enumerate(lines) if line.startswith("MACs that differ"))
    rows = lines[start + 2 : lines.index("", start)]
    labels = [re.split(r"(?<=\S)  ", row)[0] for row in rows]
    assert labels[:3] == ["blocks.0-11", "  mixer", "    qkv"]
    assert "decoder_blocks.0-7" in labels
    assert '">blocks.0-11</td>' in report.to_html()
    assert '">&#8195;mixer</td>' in report.to_html()
    assert "\nblocks.0-11 & " in report.to_latex()
    assert "\n\\quad mixer & " in report.to_latex()


def test_csv(report: Comparison) -> None:
    rows = list(csv.DictReader(StringIO(report.to_csv()), strict=True))
    whole = [row for row in rows if not row["path"]]
    assert [row["name"] for row in whole] == ["linear", *NAMES]
    for row, side in zip(whole, report.sides, strict=True):
        assert {name: int(row[name]) for name in report.measures} == side.amounts
        assert float(row["macs_ratio"]) == side.ratios["macs"]
        assert (row["model"], row["mixer"]) == ("layer", side.name)
    (scores,) = (row for row in rows if row["path"] == "mixer.scores")
    assert (scores["name"], scores["macs"], scores["params"]) == ("attn", str(49 * 49 * 12), "")


def test_markdown(report: Comparison) -> None:
    text = report.to_markdown()
    heads = [line for line, rule in pairwise(text.splitlines()) if rule.startswith("|:-")]
    titles = ["", "parameters that differ", "MACs that differ"]
    assert [re.split(r" *\| *", head)[1] for head in heads] == titles
    assert "| mixer.position_lambdas |" in text
    paragraphs = text.split("\n\n")
    assert len(report.crossovers) == 9  # of three mixers in three measures
    for crossing in report.crossovers:
        assert crossing.sentence in paragraphs
    assert "- spec: model layer, " in text


# Beside the 1,260 of the rest: 4 12² + 4 12 of attn; of lambda 3 heads of 16 queries, 16 keys and
# 4 values with biases, two norms, and 81 positions of 16 with a bias.
PARAMS = {
    "attn": 4 * 144 + 48 + 1_260,
    "lambda": 12 * 68 + 68 + 2 * 48 + 2 * 4 + 81 * 16 + 16 + 1_260,
}


def test_html(report: Comparison) -> None:
    page = ElementTree.fromstring(report.to_html())
    amounts, params, macs = page.iter("table")
    heads, *rows = [["".join(cell.itertext()) for cell in row] for row in amounts.iter("tr")]
    assert heads[1::2] == ["parameters", "MACs", "peak memory", "largest batch on H100 SXM5 80GB"]
    assert [row[0] for row in rows] == ["linear", *NAMES]
    assert rows[1][1:3] == [f"{PARAMS['attn']:,}", "×1.00"]
    assert [table.findtext("tr/th") for table in (params, macs)] == [
        "parameters that differ",
        "MACs that differ",
    ]
    paragraphs = ["".join(line.itertext()) for line in page.iter("p")]
    assert {crossing.sentence for crossing in report.crossovers} <= {*paragraphs}


def test_latex(report: Comparison) -> None:
    text = report.to_latex()
    assert f"\nattn & {PARAMS['attn']:,} & $\\times$1.00 & " in text
    assert f"\n\\quad position\\_lambdas &  &  & {1_312:,} &  \\\\\n" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3


@pytest.mark.parametrize(
    ("suffix", "format", "start"),
    [
        ("txt", "table", "Comparison of attn, lambda and pool in layer"),
        ("md", "markdown", "**Comparison of attn, lambda and pool in layer"),
        ("tex", "latex", "% needs \\usepackage{booktabs}\n\\paragraph{Comparison of attn"),
        ("html", "html", '<div class="vitprof">\n<p><b>Comparison of attn'),
        ("csv", "csv", "name,model,mixer,path,params,params_ratio,macs,macs_ratio,"),
        ("json", "json", '{\n  "schema": "vitprof/2",\n  "command": "compare"'),
    ],
)
def test_output_file(
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    format: str,
    start: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # which a table in a file has
    file = tmp_path / f"mixers.{suffix}"
    assert printed(capsys, *SHORT, f"--output={file}") == ""
    text = file.read_text(encoding="utf-8")
    assert text.startswith(start)
    assert text == printed(capsys, *SHORT, f"--format={format}")


def test_parquet(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mixers.parquet"
    assert printed(capsys, *SHORT, "--layers", f"--output={file}") == ""
    table = parquet.read_table(file)
    rows = table.to_pylist()
    whole = {row["name"]: row for row in rows if not row["path"]}
    assert {name: whole[name]["params"] for name in PARAMS} == PARAMS
    assert whole["lambda"]["params_ratio"] == PARAMS["lambda"] / PARAMS["attn"]
    (scores,) = (row for row in rows if row["path"] == "mixer.scores")
    assert (scores["name"], scores["macs"], scores["params"]) == ("attn", 49 * 49 * 12, None)
    about = json.loads(table.schema.metadata[b"vitprof"])
    assert about == document(capsys, *SHORT, "--layers")


def test_no_colour_where_none_is_wanted() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "vitprof", *SHORT, "--layers"],
        capture_output=True,
        check=True,
        timeout=60,
        env={"NO_COLOR": "1", "COLUMNS": "80", "PATH": ""},
    )
    assert b"\x1b" not in made.stdout
    assert max(map(len, made.stdout.decode().splitlines())) <= 80


def test_starts_without_anything_heavy() -> None:
    code = (
        "import sys; from vitprof.cli import run; assert run(sys.argv[1:]) == 0; "
        "print(*sys.modules, file=sys.stderr)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, *SHORT, "--gpu=h100", "--layers", "--format=json"],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    loaded = {name.partition(".")[0] for name in made.stderr.split()}
    assert "vitprof" in loaded
    assert not loaded & {"torch", "numpy", "pandas", "sympy", "rich", "tabulate", "matplotlib"}


# Time


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "TURN", 0.001)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("words", [(), ("--inference",)])
def test_time_on_this_machine(words: tuple[str, ...], capsys: Capture) -> None:
    found = document(capsys, *SHORT, "--measure", "--threads=1", "--budget=1", "--spread=9", *words)
    assert found["measures"] == ["params", "macs", "memory", "time"]
    assert found["workload"]["device"] == "cpu"
    assert found["workload"]["inference"] is bool(words)
    assert found["conditions"]["threads"] == "1"
    assert found["versions"].keys() == {"vitprof", "python", "torch"}
    assert "all take turns" in found["protocol"]
    for model in found["models"]:
        time = model["timing"]
        assert 0 < time["lower_quartile"] <= time["median"] <= time["upper_quartile"]
        assert model["amounts"]["time"] == time["median"]
        first = found["models"][0]["amounts"]["time"]
        assert model["ratios"]["time"] == pytest.approx(time["median"] / first)
    assert found["unsettled"] == {}


def test_unsteady_times_are_named(report: Comparison) -> None:
    (first, second, *others) = report.sides
    unsteady = replace(
        report,
        protocol="how",
        bound=0.05,
        sides=(
            replace(first, timing=Timing((1.0, 1.0, 1.0))),
            replace(second, timing=Timing((1.0, 2.0, 3.0))),
            *others,
        ),
    )
    assert unsteady.unsettled == {"attn": 0.5}
    assert any("over median: attn 50%" in line for line in table(unsteady, 100))


def test_time_on_a_device_that_is_not_there(capsys: Capture) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert "there is no device 'cuda' here" in said(
        capsys, *SHORT[1:], "--measure", "--device=cuda"
    )
