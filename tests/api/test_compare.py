"""`vitprof compare`: its amounts against other commands."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import Capture, document
from comparisons import NAMES, SHORT, SIZES, said

import vitprof
from vitprof.allocation.allocator import DoesNotFitError
from vitprof.allocation.largest_batch import largest_batch
from vitprof.allocation.on_gpu import on_gpu
from vitprof.allocation.step import peak_bytes
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.report.batch_size import PredictedBatch
from vitprof.request.specs import specify
from vitprof.request.workload import Workload


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
    shared = vitprof.compare(preset="vit-s-16", mixers=["attn", "hydra"], image_size=32, up_to=32)
    assert str(shared).startswith("Comparison of attn and hydra in vit-s-16, classifier, batch 1\n")
    with pytest.raises(vitprof.SpecError, match="presets name the models; leave out model"):
        vitprof.compare("mae", presets=["vit-s-16", "vit-b-16"])


def test_models_of_a_check_file(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "two.toml"
    file.write_text(
        '[[expect]]\nname = "wide"\nspec = { tokens = 9, dim = 24, heads = 3 }\nmax_macs = 10\n'
        '[[expect]]\nname = "deep"\nspec = { model = "classifier", depth = 2 }\n'
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
    assert not loaded & {"torch", "pandas", "sympy", "rich", "tabulate", "matplotlib"}
