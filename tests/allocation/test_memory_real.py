"""Peak memory of a step by formula and by PyTorch's allocator on the CPU, equal to the byte.

The reference is eager PyTorch. Excluded are kernels with internal workspaces, for which there is
no formula: convolutions (of the mixer of that name, of a local lambda layer, of XCA's patch
interaction), Fourier transforms and, on CPUs of Intel, random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from allocated import allocated, plain_kernels
from combinations import Case, cases, described

from vitprof.allocation.step import peaks
from vitprof.formulas.layer import Layer
from vitprof.formulas.work import Work

SAMPLE = 14
SEED = 7
CPU = Path("/proc/cpuinfo")
BY_MKL = {Work.DROPOUT, Work.DROP_PATH}  # which draws integers for CPUs of Intel only
WITHIN_KERNELS = {Work.CONV, Work.FFT} | (
    BY_MKL if CPU.exists() and "GenuineIntel" in CPU.read_text() else set()
)


def on_a_cpu() -> Iterator[Case]:
    return (
        (model, workload)
        for model, workload in cases(SEED)
        if workload.device == "cpu" and not works(model.formula()) & WITHIN_KERNELS
    )


def works(tree: Layer) -> set[Work]:
    items = (node.item for node in tree.walk(fold=True))
    return {item.work for item in items if not isinstance(item, Layer)}


@pytest.fixture(autouse=True)
def plain() -> Iterator[None]:
    with plain_kernels():
        yield


@pytest.mark.parametrize("case", [*islice(on_a_cpu(), SAMPLE)], ids=described)
def test_peaks_are_the_allocators(case: Case) -> None:
    assert peaks(*case) == allocated(*case)
