"""What a step holds, by formula and by the allocator of a real step on the CPU, to the byte.

The truth is eager PyTorch. Left out is what kernels allocate inside themselves and no formula
follows: convolutions (of the mixer of that name, of a local lambda layer, of XCA's patch
interaction), Fourier transforms, and the adaptive pooling of the Nyström mixer's landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from allocated import allocated, plain_kernels
from combinations import Case, cases, described

from vitprof.allocation.step import peaks
from vitprof.formulas.layer import Layer
from vitprof.formulas.work import Work

SAMPLE = 24
SEED = 7
WITHIN_KERNELS = {Work.CONV, Work.FFT, Work.SEGMENT_MEAN}


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
