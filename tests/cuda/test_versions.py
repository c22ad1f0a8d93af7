"""Versions of PyTorch, and the workspace of cuBLAS with each."""

from __future__ import annotations

import pytest
from h100 import read

from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.cuda.versions import NEWEST, OLDEST, Version, read_version, spell
from vitprof.errors import SpecError


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.11", (2, 11)),
        ("2.13.0", (2, 13)),
        ("2.11.0+cu130", (2, 11)),
        ("1.12.1", (1, 12)),
        ("2.6.0.dev20250101", (2, 6)),
        ("2.0", (2, 0)),
    ],
)
def test_a_version_is_read(text: str, version: Version) -> None:
    assert read_version(text) == version


@pytest.mark.parametrize("version", [OLDEST, (2, 0), (2, 9), (2, 10), NEWEST])
def test_a_version_is_spelled_as_it_is_read(version: Version) -> None:
    assert read_version(spell(version)) == version


@pytest.mark.parametrize("text", ["", "2", "two", "2.x", "v2.11", ".", "2.", "-2.1", "+cu130"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(SpecError, match=r"is no version; give one such as 2\.13"):
        read_version(text)


@pytest.mark.parametrize("text", ["1.11", "0.4.1", "2.14", "3.0.1", "2.130"])
def test_versions_of_which_nothing_is_known(text: str) -> None:
    with pytest.raises(SpecError, match=r"are not known; give a version from 1\.12 to 2\.13"):
        read_version(text)


def test_the_newest_is_the_default() -> None:
    assert Platform(gpu=find_gpu("h100")).torch == NEWEST == (2, 13)


SMALL, LARGE = 2 * 4096 * 1024 + 16 * 8 * 1024, 32 * 2**20  # `:4096:2:16:8`, in KiB; `:32768:1`


@pytest.mark.parametrize(
    ("gpu", "torch", "bytes"),
    [
        ("h100", (2, 11), LARGE),  # measured
        ("h100", (2, 0), LARGE),
        ("h200", (2, 13), LARGE),
        ("a100-80", (2, 13), SMALL),
        ("rtx4090", (2, 13), SMALL),
        ("t4", (2, 0), SMALL),
        ("b200", (2, 11), SMALL),
        ("b200", (2, 12), LARGE),
        ("rtx5090", (2, 11), SMALL),
        ("rtx5090", (2, 12), LARGE),
        ("h100", (1, 13), 0),
        ("v100-16", (1, 12), 0),
    ],
)
def test_the_workspace_of_cublas(gpu: str, torch: Version, bytes: int) -> None:
    assert SMALL == 8_519_680
    assert Platform(gpu=find_gpu(gpu), torch=torch).cublas_workspace == bytes


def test_two_workspaces_were_measured() -> None:
    """Compare with the first row, before which nothing else was allocated; see device.json."""
    assert read("steps.jsonl")[0]["allocated_before"] == 2 * LARGE
