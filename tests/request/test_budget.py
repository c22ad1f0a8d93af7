"""The memory that a step may take: an amount, or a GPU with the PyTorch that runs on it."""

from __future__ import annotations

import pytest

from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.errors import SpecError
from vitprof.request.budget import Budget, budget_record, platform_of, read_budget

GIB = 1024**3
MIB = 1024**2


def test_nothing_given_is_no_budget() -> None:
    assert read_budget(None, None) is None
    assert budget_record(None) == {}


def test_an_amount_is_of_no_gpu() -> None:
    budget = read_budget("24GiB", None)
    assert budget == Budget(bytes=24 * GIB, platform=None)
    assert (budget.name, budget.title) == ("24.00 GiB", "in 24.00 GiB")
    assert budget_record(budget) == {"budget_bytes": 24 * GIB}


def test_a_gpu_is_what_its_driver_shows_not_its_data_sheet() -> None:
    budget = read_budget(None, "RTX-3090")
    assert budget is not None
    assert budget.bytes == int(23.56 * GIB)  # of 24; "CUDA:0 (NVIDIA GeForce RTX 3090, 24124MiB)"
    assert abs(budget.bytes - 24124 * MIB) < 2 * MIB
    assert budget.platform == Platform(gpu=find_gpu("rtx3090"), torch=(2, 13))  # the newest
    assert budget.name == "GeForce RTX 3090, 23.56 GiB"
    assert budget.title == "on GeForce RTX 3090"
    assert budget_record(budget) == {
        "budget_bytes": budget.bytes,
        "gpu": "GeForce RTX 3090",
        "torch": "2.13",
    }


@pytest.mark.parametrize(("text", "version"), [("2.11", (2, 11)), ("1.13.1+cu117", (1, 13))])
def test_the_version_of_pytorch(text: str, version: tuple[int, int]) -> None:
    budget = read_budget(None, "h100", text)
    assert budget is not None
    assert budget.platform == Platform(gpu=find_gpu("h100"), torch=version)


@pytest.mark.parametrize(
    ("memory", "gpu", "torch", "sentence"),
    [
        ("1GiB", "t4", None, "memory and gpu both name the memory; give one of the two"),
        (
            *("1GiB", None, "2.11"),
            "torch 2.11 says which version runs on a GPU; give --gpu with it, or leave it out",
        ),
        (
            *(None, None, "2.11"),
            "torch 2.11 says which version runs on a GPU; give --gpu with it, or leave it out",
        ),
        (None, "a100", None, "'a100' is the name of several GPUs; give a100-40 or a100-80"),
        (None, "v100", None, "'v100' is the name of several GPUs; give v100-16 or v100-32"),
        (
            *(None, "rtx6000", None),
            "'rtx6000' is the name of several GPUs; give quadrortx6000, rtx6000ada or rtxpro6000",
        ),
        (
            *(None, "h100", "0.4"),
            "the rules of torch 0.4 are not known; give a version from 1.12 to 2.13",
        ),
        (None, "h100", "new", "torch 'new' is no version; give one such as 2.13"),
        (
            "24",
            None,
            None,
            "memory '24' is 24 bytes without a unit; give one, such as 24GiB or 24B",
        ),
    ],
)
def test_refused(memory: str | None, gpu: str | None, torch: str | None, sentence: str) -> None:
    with pytest.raises(SpecError) as raised:
        read_budget(memory, gpu, torch)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("device", "typed"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA GeForce RTX 3090", "rtx3090"),
        ("NVIDIA A100-SXM4-80GB", "a100-80"),
        ("NVIDIA A100-PCIE-40GB", "a100-pcie-40gb"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-16GB", "v100-16"),
        ("NVIDIA L40S", "l40s"),
    ],
)
def test_a_device_is_known_by_the_name_that_it_gives_itself(device: str, typed: str) -> None:
    assert platform_of(device) == Platform(gpu=find_gpu(typed))


@pytest.mark.parametrize("device", ["", "a GPU", "x86_64", "NVIDIA A100", "AMD Instinct MI300X"])
def test_a_device_that_is_not_known(device: str) -> None:
    assert platform_of(device) is None
