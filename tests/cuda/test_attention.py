"""Fused attention: choice of the kernel, saved tensors, and buffers of the backward pass."""

from __future__ import annotations

from typing import Any

import pytest
from cases import for_each
from h100 import read

from vitprof.cuda.attention import (
    Kernel,
    TooManyImagesError,
    backward_scratch,
    check_images,
    kernel_of,
    log_sum_rows,
    random_states,
)
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.cuda.versions import Version

BLOCK = 512
# 32 images of 197 tokens, 6 heads of 64 channels: x of kernels.jsonl.
HEADS, TOKENS, CHANNELS = 32 * 6, 197, 64
MEASURED: dict[str, dict[str, Any]] = {row["op"]: row for row in read("kernels.jsonl")}


def in_blocks(*sizes: int) -> int:
    """Return bytes as the allocator counts them."""
    return sum(-(-size // BLOCK) * BLOCK for size in sizes)


@for_each(
    "gpu, torch, bits, head_dim, kernel",
    [
        ("h100", (2, 11), 16, 64, Kernel.CUDNN),  # measured
        ("h100", (2, 13), 16, 128, Kernel.CUDNN),
        ("h200", (2, 11), 16, 8, Kernel.CUDNN),
        ("b200", (2, 11), 16, 64, Kernel.CUDNN),
        ("h100", (2, 10), 16, 64, Kernel.FLASH),
        ("b200", (2, 10), 16, 64, Kernel.FLASH),
        ("h100", (2, 11), 16, 60, Kernel.FLASH),  # cuDNN takes multiples of 8
        ("h100", (2, 11), 16, 136, Kernel.FLASH),  # and 128 at most
        ("h100", (2, 11), 16, 256, Kernel.FLASH),
        ("h100", (2, 11), 16, 264, Kernel.EFFICIENT),
        ("rtx5090", (2, 13), 16, 64, Kernel.FLASH),  # compute capability 12
        ("rtx4090", (2, 13), 16, 64, Kernel.FLASH),
        ("rtx3090", (2, 13), 16, 64, Kernel.FLASH),
        ("a100-80", (2, 13), 16, 128, Kernel.FLASH),
        ("t4", (2, 13), 16, 64, Kernel.EFFICIENT),
        ("v100-16", (2, 13), 16, 64, Kernel.EFFICIENT),
        ("h100", (2, 11), 32, 64, Kernel.EFFICIENT),  # measured
        ("a100-80", (2, 13), 32, 64, Kernel.EFFICIENT),
        ("t4", (2, 13), 32, 64, Kernel.EFFICIENT),
    ],
)
def test_which_kernel(gpu: str, torch: Version, bits: int, head_dim: int, kernel: Kernel) -> None:
    platform = Platform(gpu=find_gpu(gpu), torch=torch)
    assert kernel_of(platform, bits=bits, head_dim=head_dim) is kernel


@pytest.mark.parametrize(
    ("torch", "mask", "kernel"),
    [
        ((2, 11), "none", Kernel.CUDNN),
        ((2, 11), "fixed", Kernel.CUDNN),
        ((2, 11), "trained", Kernel.EFFICIENT),  # cuDNN makes no gradient of it
        ((2, 10), "none", Kernel.FLASH),
        ((2, 10), "fixed", Kernel.EFFICIENT),  # flash takes none
    ],
)
def test_which_kernel_takes_a_mask(torch: Version, mask: str, kernel: Kernel) -> None:
    platform = Platform(gpu=find_gpu("h100"), torch=torch)
    assert kernel_of(platform, bits=16, head_dim=64, mask=mask) is kernel


@pytest.mark.parametrize(
    ("kernel", "torch", "sentence"),
    [
        (Kernel.FLASH, (2, 13), r"images are too many: the flash kernel .* 65,535 images; give"),
        (Kernel.CUDNN, (2, 13), r"images are too many: cuDNN's kernel .* 65,535 images; give"),
        (Kernel.EFFICIENT, (2, 7), r"too many: the memory-efficient kernel .* 65,535 images; give"),
        (Kernel.EFFICIENT, (2, 8), r"65,535 images, and the memory of the parts in which PyTorch"),
    ],
)
def test_most_images_of_a_launch(kernel: Kernel, torch: Version, sentence: str) -> None:
    platform = Platform(gpu=find_gpu("h100"), torch=torch)
    check_images(kernel, platform, 65_535)
    with pytest.raises(TooManyImagesError, match=sentence):
        check_images(kernel, platform, 65_536)


def test_what_fp32_keeps_is_what_was_measured() -> None:
    """Check the result and a log-sum-exp of 224 rows: 197 up to a multiple of 32."""
    assert log_sum_rows(Kernel.EFFICIENT, TOKENS) == 224
    assert log_sum_rows(Kernel.EFFICIENT, 224) == 224
    assert random_states(Kernel.EFFICIENT) == []
    result = 4 * HEADS * TOKENS * CHANNELS
    held = in_blocks(result, 4 * HEADS * 224)
    assert held == MEASURED["float32 sdpa fwd"]["held"] == 9_854_976


def test_what_bf16_keeps_is_what_was_measured() -> None:
    """Check the result, a log-sum-exp of 197 rows, and seed and offset of random numbers."""
    assert log_sum_rows(Kernel.CUDNN, TOKENS) == log_sum_rows(Kernel.FLASH, TOKENS) == 197
    assert random_states(Kernel.CUDNN) == [8, 8]
    result = 2 * HEADS * TOKENS * CHANNELS
    held = in_blocks(result, 4 * HEADS * 197, *random_states(Kernel.CUDNN))
    assert held == MEASURED["bfloat16 sdpa fwd"]["held"] == 4_994_048


def test_flash_keeps_two_words_and_one() -> None:
    assert random_states(Kernel.FLASH) == [16, 8]


def test_the_backward_pass_of_fp32_takes_what_was_measured() -> None:
    """Check a sum per row, and per head 4 tiles of 64 × 64 elements and 4 more.

    The peak has the gradients of q, k and v as well, of which one is held after it.
    """
    taken = backward_scratch(
        Kernel.EFFICIENT, heads=HEADS, queries=TOKENS, head_dim=CHANNELS, bits=32
    )
    assert taken == [4 * 192 * 197, 192 * 4 * (4 * (64 * 64 + 4))]
    assert in_blocks(*taken) == 151_552 + 12_595_200 == 12_746_752
    gradient = 4 * HEADS * TOKENS * CHANNELS
    measured = MEASURED["float32 sdpa bwd"]
    assert measured["held"] == gradient == 9_682_944
    assert measured["peak"] == 3 * gradient + 12_746_752
    assert measured["extra"] == 2 * gradient + 12_746_752


def test_the_backward_pass_of_bf16_takes_what_was_measured() -> None:
    """Check a sum per row, and the gradient of the queries in fp32."""
    taken = backward_scratch(Kernel.CUDNN, heads=HEADS, queries=TOKENS, head_dim=CHANNELS, bits=16)
    assert taken == [4 * 192 * 197, 4 * 192 * 197 * 64]
    assert in_blocks(*taken) == 151_552 + 9_682_944 == 9_834_496
    gradient = 2 * HEADS * TOKENS * CHANNELS
    measured = MEASURED["bfloat16 sdpa bwd"]
    assert measured["held"] == gradient == 4_841_472
    assert measured["peak"] == 3 * gradient + 9_834_496
    assert measured["extra"] == 2 * gradient + 9_834_496


@pytest.mark.parametrize(
    ("queries", "rows", "head_dim", "columns"),
    [(197, 256, 64, 64), (256, 256, 40, 64), (257, 384, 128, 128), (5, 128, 136, 192)],
)
def test_the_backward_pass_of_flash(queries: int, rows: int, head_dim: int, columns: int) -> None:
    """Check the same, padded to 128 rows, and to 32 channels, or 64 above 128, by the source."""
    taken = backward_scratch(Kernel.FLASH, heads=3, queries=queries, head_dim=head_dim, bits=16)
    assert taken == [4 * 3 * rows, 4 * 3 * rows * columns]


@pytest.mark.parametrize(
    ("head_dim", "bits", "tiles"),
    [
        (40, 16, 4 * 1 * (64 * 64 + 4)),
        (64, 16, 4 * 1 * (64 * 64 + 4)),
        (128, 16, 2 * 1 * (128 * 128 + 4)),
        (256, 16, 2 * 4 * (128 * 64 + 4)),
        (128, 32, 4 * 2 * (64 * 64 + 4)),
    ],
)
def test_tiles_of_the_efficient_kernel(head_dim: int, bits: int, tiles: int) -> None:
    """Check 197 queries in tiles of 64 or 128, and channels likewise, by the source."""
    taken = backward_scratch(Kernel.EFFICIENT, heads=5, queries=197, head_dim=head_dim, bits=bits)
    assert taken == [4 * 5 * 197, 5 * 4 * tiles]
