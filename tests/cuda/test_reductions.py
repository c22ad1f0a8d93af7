"""Buffers of reductions: measured ones, and the rule's other cases derived by hand.

Along the rows of a matrix, with outputs that are a multiple of 4, a block of 512 threads has 32
across for 4 outputs each, and 4 rows: 128 outputs and 4 rows at a time, 16 values a thread.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from h100 import read

from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.reductions import scratch, widths

H100 = find_gpu("h100")
BLOCK = 512


def sum_of_rows(
    rows: int, outputs: int, *, element: int = 4, multiprocessors: int = 132, threads: int = 2048
) -> list[int]:
    """Return the buffers of the sum over the rows of a contiguous matrix."""
    gpu = replace(H100, multiprocessors=multiprocessors, threads=threads)
    return scratch((rows, outputs), (outputs, 1), (0,), element=element, gpu=gpu)


def in_blocks(sizes: list[int]) -> int:
    """Return bytes as the allocator counts them."""
    return sum(-(-size // BLOCK) * BLOCK for size in sizes)


MEASURED = [
    # rows, outputs, element, blocks along the rows, blocks along the outputs, bytes
    (6304, 384, 4, 99, 3, 19_464_192),
    (6304, 1536, 4, 99, 12, 77_856_768),
    (6304, 1536, 2, 99, 12, 77_856_768),
    (6272, 384, 4, 98, 3, 19_267_584),
    (6272, 1536, 2, 98, 12, 77_070_336),
    (16384, 768, 4, 256, 6, 100_663_296),
    (40970, 512, 4, 528, 4, 138_412_032),  # ceil(132 × 16 / 4), not ceil(40970 / 64)
]


@pytest.mark.parametrize(("rows", "outputs", "element", "down", "across", "bytes"), MEASURED)
def test_sums_that_were_measured(
    rows: int, outputs: int, element: int, down: int, across: int, bytes: int
) -> None:
    """Compare with buffers and semaphores in a step's allocation history on an H100."""
    assert down == min(-(-rows // 64), -(-132 * 16 // across))
    assert across == -(-outputs // 128)
    assert 4 * outputs * 128 * down == bytes
    assert sum_of_rows(rows, outputs, element=element) == [bytes, 4 * across]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["sum bias", "sum bias keepdim"])
def test_the_sum_of_a_hidden_layer_takes_what_was_measured(dtype: str, kind: str) -> None:
    (extra,) = [row["extra"] for row in read("kernels.jsonl") if row["op"] == f"{dtype} {kind}"]
    element = {"float32": 4, "bfloat16": 2}[dtype]
    assert in_blocks(sum_of_rows(6304, 1536, element=element)) == extra == 77_856_768 + BLOCK


def test_what_is_alive_at_a_peak_has_these_buffers() -> None:
    live = {row["label"]: row["live_at_peak"] for row in read("peaks.jsonl")}
    for label, sizes in {
        "attn fp32": sum_of_rows(6304, 384),
        "attn bf16": sum_of_rows(6304, 1536, element=2),
        "attn mean fp32": sum_of_rows(6272, 384),
        "attn mean bf16": sum_of_rows(6272, 1536, element=2),
        "convmixer": sum_of_rows(16384, 768),
    }.items():
        assert live[label][-2:] == sizes


def test_there_is_no_buffer_below_1021_rows() -> None:
    """Require at least 256 rows of threads, of 4 rows each: 1020 / 4 are one too few."""
    assert sum_of_rows(1020, 1536) == []
    assert sum_of_rows(1021, 1536) == [4 * 1536 * 128 * 16, 4 * 12]  # ceil(1021 / 64) = 16


@pytest.mark.parametrize(("outputs", "rows"), [(1536, 180_225), (768, 360_449)])
def test_very_many_rows_take_more_than_fits_at_once(outputs: int, rows: int) -> None:
    """Bound a thread to 256 values, so that a block has at most 1024 rows."""
    across = outputs // 128
    fits = 132 * 16 // across
    assert rows == 1024 * fits + 1
    assert sum_of_rows(rows - 1, outputs) == [4 * outputs * 128 * fits, 4 * across]
    assert sum_of_rows(rows, outputs) == [4 * outputs * 128 * (fits + 1), 4 * across]


def test_outputs_of_which_two_are_vectors() -> None:
    """Take 2 outputs per thread: blocks of 32 × 8 threads, 64 outputs, ceil(788 / 16) down."""
    assert -(-6304 // 8) == 788
    assert 4 * 386 * 64 * 50 == 4_940_800
    assert sum_of_rows(6304, 386) == [4_940_800, 4 * 7]
    assert 4 * 130 * 64 * 50 == 1_664_000
    assert sum_of_rows(6304, 130) == [1_664_000, 4 * 3]


@pytest.mark.parametrize(("outputs", "bytes"), [(385, 1_232_000), (387, 1_238_400)])
def test_odd_outputs(outputs: int, bytes: int) -> None:
    """Take 1 output per thread: blocks of 32 × 16 threads, ceil(6304 / 16 / 16) down."""
    assert 4 * outputs * 32 * 25 == bytes
    assert sum_of_rows(6304, outputs) == [bytes, 4 * 13]


def test_outputs_that_are_no_multiple_of_128() -> None:
    """Check that the buffer has as many columns as there are outputs, not as the blocks have."""
    assert 4 * 196 * 128 * 99 == 9_934_848
    assert sum_of_rows(6304, 196) == [9_934_848, 4 * 2]
    assert 4 * 1000 * 128 * 99 == 50_688_000
    assert sum_of_rows(6304, 1000) == [50_688_000, 4 * 8]


def test_few_outputs() -> None:
    """Take 25 vectors: blocks of 16 × 8 threads, so 64 outputs, ceil(788 / 16) of them down.

    With 10, 3 or 1 a block has so many rows that a thread has fewer than 256 values.
    """
    assert 4 * 100 * 64 * 50 == 1_280_000
    assert sum_of_rows(6304, 100) == [1_280_000, 4 * 2]
    assert [sum_of_rows(6304, outputs) for outputs in (10, 3, 1)] == [[], [], []]


def test_reductions_along_contiguous_rows_take_kilobytes() -> None:
    """Check one partial result per block: 33 blocks per row, and 528 for a single row."""
    length = 4 * 2**20
    assert 132 * 4 / 16 == 33
    assert scratch((16, length), (length, 1), (1,), element=4, gpu=H100) == [4 * 16 * 33, 4 * 16]
    assert 4 * 16 * 33 == 2112 == 4 * 528
    assert scratch((6304, 1536), (1536, 1), (0, 1), element=4, gpu=H100) == [2112, 4]
    assert scratch((6304, 1536), (1536, 1), (1,), element=4, gpu=H100) == []


def test_the_bias_of_a_convolution() -> None:
    """Reduce a channel per block if channels-first; channels-last is a linear layer's sum."""
    shape, dims = (32, 384, 56, 56), (0, 2, 3)
    first, last = (384 * 3136, 3136, 56, 1), (384 * 3136, 1, 56 * 384, 384)
    assert scratch(shape, first, dims, element=4, gpu=H100) == []
    taken = scratch(shape, last, dims, element=4, gpu=H100)
    assert taken == sum_of_rows(32 * 3136, 384) == [4 * 384 * 128 * (132 * 16 // 3), 4 * 3]


def test_axes_whose_strides_go_on_are_one() -> None:
    whole = scratch((32, 197, 1536), (197 * 1536, 1536, 1), (0, 1), element=4, gpu=H100)
    assert whole == sum_of_rows(32 * 197, 1536)
    with_ones = scratch((6304, 1, 1536), (1536, 7, 1), (0, 1), element=4, gpu=H100)
    assert with_ones == whole
    outputs = scratch((6304, 64, 6), (384, 6, 1), (0,), element=4, gpu=H100)
    assert outputs == sum_of_rows(6304, 384)  # 4 outputs a thread, though 6 are no multiple


def test_a_transposed_matrix_is_summed_along_contiguous_rows() -> None:
    assert scratch((6304, 1536), (1, 6304), (0,), element=4, gpu=H100) == []


def test_partial_results_of_another_size() -> None:
    """Take 16 bytes per output for a variance: mean, deviation, and two counts."""
    wide = scratch((6304, 384), (384, 1), (0,), element=4, gpu=H100, accumulator=16)
    assert wide == [16 * 384 * 128 * 99, 4 * 3]


@pytest.mark.parametrize(
    ("name", "multiprocessors", "threads", "bytes"),
    [
        ("h100", 132, 2048, 138_412_032),
        ("h200", 132, 2048, 138_412_032),
        ("a100-80", 108, 2048, 113_246_208),
        ("rtx4090", 128, 1536, 100_663_296),
        ("l4", 58, 1536, 45_613_056),
        ("t4", 40, 1024, 21_233_664),
        ("b200", 148, 2048, 155_320_320),
    ],
)
def test_other_gpus(name: str, multiprocessors: int, threads: int, bytes: int) -> None:
    """Reduce 50176 × 768: blocks of 128 threads, 6 across, as many down as run at once."""
    down = -(-multiprocessors * (threads // 128) // 6)
    assert down < 50176 // 64
    assert 4 * 768 * 128 * down == bytes
    found = sum_of_rows(50176, 768, multiprocessors=multiprocessors, threads=threads)
    assert found == [bytes, 4 * 6]
    assert find_gpu(name).threads == threads


def test_two_gibibytes_are_one_piece() -> None:
    """Check an offset of the last element 4 bytes below 2^31, which 32 bits can hold."""
    assert 4 * 2**19 * 1024 == 2**31
    assert sum_of_rows(2**19, 1024) == [4 * 1024 * 128 * (2**19 // 1024), 4 * 8]


@pytest.mark.parametrize("element", [2, 4])
def test_above_two_gibibytes_the_rows_are_halved(element: int) -> None:
    """Check that each piece has its own buffer and semaphores, for half as many rows."""
    rows = 2**31 // (element * 1024) + 2
    half = sum_of_rows(rows // 2, 1024, element=element)
    assert len(half) == 2
    assert sum_of_rows(rows, 1024, element=element) == half * 2


def test_the_longer_piece_is_the_second() -> None:
    """Halve 2^19 + 1 rows: 2^18 in the first piece, which are 256 blocks' values, and one more."""
    down = 132 * 16 // 8
    assert down > -(-(2**18 + 1) // 1024)
    assert sum_of_rows(2**19 + 1, 1024) == [4 * 1024 * 128 * down, 4 * 8] * 2
    few = sum_of_rows(2**19 + 1, 1024, multiprocessors=1)
    assert few == [4 * 1024 * 128 * 256, 4 * 8, 4 * 1024 * 128 * 257, 4 * 8]


def test_pieces_are_halved_again() -> None:
    rows = 2 * (2**19 + 2)
    assert sum_of_rows(rows, 1024) == sum_of_rows(rows // 4, 1024) * 4


def test_the_axis_of_the_largest_extent_is_halved() -> None:
    """Halve 16 rows of 2^27 elements: the stride of rows is more than the extent of a row.

    4 rows are 2^31 bytes and so one piece; blocks of 128 × 4 threads, all along a row, of which
    a thread takes 256 values: 2^27 / 512 / 256 blocks.
    """
    length = 2**27
    found = scratch((16, length), (length, 1), (1,), element=4, gpu=H100)
    assert found == [4 * 4 * (length // 512 // 256), 4 * 4] * 4


def test_more_elements_than_31_bits_count_are_halved_too() -> None:
    """Halve the outputs: an expanded axis has no extent."""
    rows = 2**21 + 2
    half = scratch((rows, 512), (0, 1), (0,), element=4, gpu=H100)
    assert len(half) == 2
    assert scratch((rows, 1024), (0, 1), (0,), element=4, gpu=H100) == half * 2


@pytest.mark.parametrize(
    ("kind", "element", "expected"),
    [
        *(("sum", 4, (4, 4)), ("sum", 2, (4, 8)), ("sum", 8, (8, 4))),
        *(("mean", 2, (4, 4)), ("norm", 2, (4, 4)), ("extreme", 2, (2, 4))),
        *(("place", 4, (16, 4)), ("deviation", 4, (16, 2))),
    ],
)
def test_partial_results_of_each_kind(kind: str, element: int, expected: tuple[int, int]) -> None:
    """Check bytes of a partial result and values at once: a place is a value and an int64."""
    assert widths(kind, element) == expected
