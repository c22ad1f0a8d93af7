"""`vitprof memory --gpu`: what a step takes on a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
from commands import Capture
from memory_command import CONTEXT_OF_3090, MIB, SMALL, document, printed, unwrapped

from vitprof.api import memory as footprint
from vitprof.cli import run
from vitprof.cuda.platform import Platform
from vitprof.formulas.model import Model
from vitprof.request.workload import Workload
from vitprof.running.trace import Trace

CUBLAS = 8_519_680  # bytes of a workspace, two of 4,096 KiB and eight of 16 KiB


def test_gpu(capsys: Capture) -> None:
    said = document(capsys, *SMALL, "--gpu=rtx3090", "--no-trace")
    gpu = said["gpu"]
    assert [*gpu] == [
        *("name", "torch", "allocated", "reserved", "context", "context_source"),
        *("convolution", "workspace", "total"),
    ]
    assert (gpu["name"], gpu["torch"]) == ("GeForce RTX 3090", "2.13")
    assert (gpu["convolution"], gpu["workspace"]) == ("", 0)  # there is none in a layer
    # A workspace of cuBLAS for the forward pass and one for autograd's thread share a segment of
    # 20 MiB; all tensors are in one of 2 MiB.
    assert gpu["reserved"] == (20 + 2) * MIB
    assert gpu["context"] == CONTEXT_OF_3090
    assert gpu["total"] == gpu["reserved"] + gpu["context"]
    assert [*gpu["allocated"]] == ["forward", "backward", "optimizer"]
    for phase, size in gpu["allocated"].items():
        blocks = size - 2 * CUBLAS
        assert blocks % 512 == 0
        held = said["phases"][phase]["peak_bytes"]
        assert held < blocks < held + 512 * 100


def test_gpu_in_inference_has_one_workspace(capsys: Capture) -> None:
    gpu = document(capsys, *SMALL, "--gpu=rtx3090", "--inference", "--no-trace")["gpu"]
    assert [*gpu["allocated"]] == ["forward"]
    assert CUBLAS < gpu["allocated"]["forward"] < CUBLAS + 2 * MIB
    assert gpu["reserved"] == (20 + 2) * MIB


@pytest.mark.parametrize(
    # On compute capability 9 a workspace is of 32 MiB; before 2.0 PyTorch's allocator has none.
    ("torch", "segments"),
    [("2.11", 2 * 32 + 2), ("1.13.1", 2)],
)
def test_gpu_with_a_version_of_pytorch(capsys: Capture, torch: str, segments: int) -> None:
    said = document(capsys, *SMALL, "--gpu=h100", f"--torch={torch}", "--no-trace")
    assert said["gpu"]["name"] == "H100 SXM5 80GB"
    assert said["gpu"]["torch"] == torch.removesuffix(".1")
    assert said["gpu"]["reserved"] == segments * MIB
    assert said["gpu"]["context"] == 927_793_152  # measured: see tests/data/h100


def test_gpu_is_what_an_h100_showed(capsys: Capture) -> None:
    """A row of tests/data/h100: bytes of `max_memory_allocated`."""
    said = document(capsys, "--batch=10", "--gpu=h100", "--torch=2.11", "--no-trace")
    measured = {"forward": 9_561_936_384, "backward": 10_854_901_760, "optimizer": 634_217_984}
    assert said["gpu"]["allocated"].keys() == measured.keys()
    for phase, size in measured.items():
        assert abs(said["gpu"]["allocated"][phase] - size) <= 0.005 * size


def test_table_of_a_gpu(capsys: Capture) -> None:
    said = unwrapped(printed(capsys, *SMALL, "--gpu=rtx3090", "--no-trace"))
    total = (22 * MIB + CONTEXT_OF_3090) / MIB
    assert f"on the GPU {total:.1f} MiB on GeForce RTX 3090 with torch 2.13: 22.0 MiB" in said
    assert (
        "reserved, of which allocated at most in forward 16.3 MiB, backward 16.3 MiB, "
        "optimizer 16.3 MiB; and the CUDA context, 884.8 MiB"
    ) in said
    assert "884.8 MiB (not measured: the largest that an H100 showed)" in said
    assert "on the GPU" not in printed(capsys, *SMALL, "--no-trace")


def test_a_cpu_is_no_gpu(capsys: Capture) -> None:
    said = document(capsys, *SMALL, "--device=cpu")
    assert said["gpu"] is None
    # Of the scale of attention, a CPU keeps a number of 8 bytes.
    assert said["trace"]["peak_bytes"] == said["totals"]["peak_bytes"] - 8


def test_a_trace_has_the_kernels_of_the_gpu(capsys: Capture) -> None:
    said = document(capsys, *SMALL, "--gpu=rtx3090")
    kernels = said["trace"]["kernels"]
    assert kernels["gpu"] == "GeForce RTX 3090"
    assert kernels["traced"] == kernels["formula"]
    assert [*kernels["traced"]] == ["forward", "backward", "optimizer"]
    for phase, held in kernels["traced"].items():  # softmax's product, attention's sums
        assert held >= said["phases"][phase]["peak_bytes"]
    assert "kernels" not in document(capsys, *SMALL)["trace"]


def test_kernels_that_are_off_the_trace(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = footprint.trace_step

    def otherwise(model: Model, workload: Workload, platform: Platform | None = None) -> Trace:
        traced = honest(model, workload, platform)
        if platform is None:
            return traced
        off = {phase: held + 512 for phase, held in traced.by_phase.items()}
        return replace(traced, by_phase=off)

    monkeypatch.setattr(footprint, "trace_step", otherwise)
    assert run(["memory", *SMALL, "--gpu=rtx3090", "--format=csv"]) == 1
    said = capsys.readouterr().err
    assert "in the forward phase with the kernels of GeForce RTX 3090 the formula says" in said
