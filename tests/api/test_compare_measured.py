"""Comparisons of time, measured on this machine."""

from __future__ import annotations

from dataclasses import replace

import comparisons
import pytest
import torch
from commands import Capture, document
from comparisons import SHORT, said, table

from vitprof.measuring import timing
from vitprof.measuring.timing import Timing
from vitprof.report.compare import Comparison

report = comparisons.report


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
