"""`vitprof models PATTERN`: the models of other libraries, in every format."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from commands import document, printed, said
from pyarrow import parquet

import vitprof

Capture = pytest.CaptureFixture[str]


def test_a_list_says_input_and_version(capsys: Capture) -> None:
    shown = document(capsys, "models", "torchvision:r*_18")
    assert shown == {
        "schema": "vitprof/2",
        "command": "models",
        "pattern": "torchvision:r*_18",
        "library": f"torchvision {version('torchvision')}",
        "models": [
            {"reference": "torchvision:r2plus1d_18", "input": "3x16x112x112"},
            {"reference": "torchvision:r3d_18", "input": "3x16x112x112"},
        ],
    }
    table = printed(capsys, "models", "torchvision:r*_18")
    library = f"torchvision {version('torchvision')}"
    assert "torchvision:r2plus1d_18  3x16x112x112\n" in table
    assert table.endswith(f"torchvision:r*_18: 2 of the models in {library}\n")


def test_an_input_that_is_not_known(capsys: Capture, tmp_path: Path) -> None:
    words = ("models", "torchvision:raft*")
    names = ["torchvision:raft_large", "torchvision:raft_small"]
    inputs = {model["input"] for model in document(capsys, *words)["models"]}
    assert inputs == {None}
    csv = printed(capsys, *words, "--format=csv")
    assert csv.splitlines() == ["reference,input", *(f"{name}," for name in names)]
    assert printed(capsys, *words, "--output", str(tmp_path / "names.parquet")) == ""
    table = parquet.read_table(tmp_path / "names.parquet").to_pydict()
    assert table == {"reference": names, "input": [None, None]}
    for name in ("markdown", "latex", "html"):
        assert printed(capsys, *words, "--format", name).count("torchvision:raft") >= 2


def test_in_python() -> None:
    report = vitprof.models("timm:deit_tiny_patch16_*")
    assert isinstance(report, vitprof.Report)
    assert report.to_csv() == "reference,input\ntimm:deit_tiny_patch16_224,3x224x224\n"


def test_a_pattern_that_matches_nothing(capsys: Capture) -> None:
    assert said(capsys, "models", "tim:*") == (
        "there is no library 'tim'; did you mean timm? known are timm, torchvision and transformers"
    )
    assert said(capsys, "models", "").startswith("there is no model ''; known are mae, ")
    assert said(capsys, "models", "torchvision:deit*") == (
        "none of the 121 models of torchvision matches 'deit*'; give * for any text, as "
        "in 'torchvision:*'"
    )
