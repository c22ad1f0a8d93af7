"""`vitprof memory --measure`: a step on the GPU that is there, beside what is predicted."""

from __future__ import annotations

import pytest
import torch
from commands import Capture
from memory_command import MIB, SMALL, document, printed, unwrapped

from vitprof.cli import run
from vitprof.running import measure
from vitprof.running.measure import MeasuredStep


@pytest.fixture
def of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> MeasuredStep:
    """Have this be measured in place of a step."""
    step = MeasuredStep(
        device="NVIDIA H100 80GB HBM3",
        torch="2.11.0+cu130",
        cuda="13.0",
        before=2 * 32 * MIB,
        allocated={"forward": 65 * MIB, "backward": 66 * MIB, "optimizer": 67 * MIB},
        reserved=68 * MIB,
        beside=700 * MIB,
    )
    monkeypatch.setattr(measure, "measure_step", lambda model, workload: step)
    return step


def test_measured_is_a_row(capsys: Capture, of_a_gpu: MeasuredStep) -> None:
    said = document(capsys, *SMALL, "--measure", "--no-trace")
    assert said["measured"] == {
        "device": "NVIDIA H100 80GB HBM3",
        "torch": "2.11.0+cu130",
        "cuda": "13.0",
        "before": 2 * 32 * MIB,
        "allocated": of_a_gpu.allocated,
        "reserved": 68 * MIB,
        "beside": 700 * MIB,
    }


@pytest.mark.usefixtures("of_a_gpu")
def test_measured_beside_predicted_phase_by_phase(capsys: Capture) -> None:
    words = (*SMALL, "--measure", "--no-trace")
    alone = unwrapped(printed(capsys, *words))
    where = "on NVIDIA H100 80GB HBM3 with torch 2.11.0+cu130, CUDA 13.0"
    beside = f"reserved 68.0 MiB, beside it 700.0 MiB; {where}"
    phases = "forward 65.0 MiB, backward 66.0 MiB, optimizer 67.0 MiB"
    assert f"measured {phases}; {beside}" in alone
    given = (*words, "--gpu=h100", "--torch=2.11")
    predicted = document(capsys, *given)["gpu"]["allocated"]
    less = [
        size * MIB - predicted[name] for name, size in zip(predicted, (65, 66, 67), strict=True)
    ]
    assert all(size > 0 for size in less)
    assert (
        f"measured forward 65.0 MiB (−{less[0]:,} bytes predicted), backward 66.0 MiB "
        f"(−{less[1]:,} bytes predicted), optimizer 67.0 MiB (−{less[2]:,} bytes predicted); "
        f"{beside}"
    ) in unwrapped(printed(capsys, *given))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_a_sentence_says_so(capsys: Capture) -> None:
    assert run(["memory", *SMALL, "--measure", "--no-trace"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"vitprof: PyTorch {torch.__version__} sees no CUDA GPU here to measure on; leave out "
        "--measure, or give --gpu to predict\n"
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_step_is_measured(capsys: Capture) -> None:
    said = document(capsys, *SMALL, "--measure", "--no-trace")
    measured = said["measured"]
    for phase, size in measured["allocated"].items():
        own = size - measured["before"]
        assert said["phases"][phase]["peak_bytes"] <= own < 2 * MIB
    assert measured["reserved"] >= max(measured["allocated"].values())
