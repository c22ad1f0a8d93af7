"""Partial sums of a LayerNorm's gradients, and buffers of other norms."""

from __future__ import annotations

import pytest
from h100 import read

from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.norms import (
    foreach_norm_partials,
    group_norm_backward_scratch,
    group_norm_scratch,
    layer_norm_partials,
)


@pytest.mark.parametrize("op", ["float32 ln bwd", "bfloat16 ln bwd"])
def test_6304_rows_take_none_as_measured(op: str) -> None:
    (extra,) = [row["extra"] for row in read("kernels.jsonl") if row["op"] == op]
    assert layer_norm_partials(find_gpu("h100"), 6304, 384) == extra == 0


@pytest.mark.parametrize(
    ("gpu", "rows", "columns", "partials"),
    [
        ("h100", 65_536, 384, 0),
        ("h100", 65_537, 384, -(-65_537 // 32)),  # fewer than 32768 // 12 = 2730
        ("h100", 100_000, 384, 2730),
        ("h100", 100_000, 2080, 32_768 // 65),  # 2 × 65 are fewer than 132
        ("h100", 100_000, 2081, 0),  # 2 × 66 are not
        ("t4", 100_000, 608, 32_768 // 19),  # 2 × 19 are fewer than 40
        ("t4", 100_000, 640, 0),
    ],
)
def test_above_65536_rows(gpu: str, rows: int, columns: int, partials: int) -> None:
    """Sum in parts if 32 columns per block leave half of the multiprocessors idle, by source."""
    assert layer_norm_partials(find_gpu(gpu), rows, columns) == partials


def test_group_norm() -> None:
    """Check fp32 numbers of each channel and group, by source; of one pixel only the groups'."""
    assert group_norm_scratch(3, 20) == [4 * 3 * 20] * 2
    assert group_norm_backward_scratch(3, 20, 49, 5) == [4 * 3 * 20] * 3 + [4 * 3 * 5] * 2
    assert group_norm_backward_scratch(3, 20, 1, 5) == [4 * 3 * 5] * 2


def test_norms_together() -> None:
    """Check a partial norm for each 65,536 elements of the largest tensor, of each tensor."""
    assert foreach_norm_partials([7, 65_536]) == 4 * 2 * 1
    assert foreach_norm_partials([7, 65_537, 3]) == 4 * 3 * 2
