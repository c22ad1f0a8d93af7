"""Gradient buckets against those of PyTorch's own function."""

from __future__ import annotations

import pytest
import torch
from torch import distributed

from vitprof.allocation.buckets import CAP, FIRST, buckets
from vitprof.allocation.on_gpu import on_gpu
from vitprof.allocation.optimizer import parameter_sizes
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.request.specs import specify
from vitprof.request.workload import Workload

MIB = 2**20


@pytest.mark.parametrize("preset", ["vit-s-16", "vit-l-16", "mixer-b-16"])
def test_buckets_are_pytorchs(preset: str) -> None:
    model = specify(options={"preset": preset})
    sizes = [4 * size.value for size in parameter_sizes(model.formula(), None)]
    ready = [torch.empty(size // 4, device="meta") for size in reversed(sizes)]
    by_size = distributed._compute_bucket_assignment_by_size  # type: ignore[attr-defined]
    theirs, _ = by_size(ready, [FIRST, CAP])
    last = len(sizes) - 1
    assert buckets(sizes) == [[last - place for place in bucket] for bucket in theirs]


def test_limits() -> None:
    # From the last: two reach 1 MiB; 30 MiB are a bucket of their own; the rest is the third.
    assert buckets([2, 30 * MIB, MIB // 2, MIB // 2]) == [[3, 2], [1], [0]]
    assert buckets([24 * MIB, 3, 24 * MIB, 2 * MIB]) == [[3], [2, 1, 0]]
    assert buckets([]) == []


def test_buckets_on_a_gpu() -> None:
    """Add buckets for the whole step; as views they replace the gradients.

    The block of each may have a remainder of up to 1 MiB.
    """
    platform = Platform(gpu=find_gpu("h100"), torch=(2, 11))
    model = specify(options={"preset": "deit-ti"})
    found = {
        ddp: on_gpu(model, Workload(batch=2, optimizer="sgd", ddp=ddp), platform).allocated
        for ddp in ("none", "buckets", "view")
    }
    sizes = [4 * size.value for size in parameter_sizes(model.formula(), None)]
    for ddp, phase in (("buckets", "forward"), ("buckets", "optimizer"), ("view", "forward")):
        more = found[ddp][phase] - found["none"][phase]
        assert sum(sizes) <= more <= sum(sizes) + MIB * len(buckets(sizes))
    assert abs(found["view"]["optimizer"] - found["none"]["optimizer"]) <= 2 * MIB
