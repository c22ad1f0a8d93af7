"""Bounds with a unit are exact: nothing is rounded, and what cannot be read is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitprof.errors import SpecError
from vitprof.values.bounds import read_count, read_memory


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("25G", 25_000_000_000),
        ("86.6M", 86_600_000),
        ("86.567656M", 86_567_656),
        ("0.5k", 500),
        (" 2 T ", 2 * 10**12),
        ("2.50 k", 2_500),
        ("12 * (64 × 192 + 192)", 12 * (64 * 192 + 192)),
        ("1_000", 1_000),
        (7, 7),
    ],
)
def test_a_bound_of_a_count(value: object, count: int) -> None:
    assert read_count(value) == count


@given(st.integers(0, 10**12), st.sampled_from([("k", 3), ("M", 6), ("G", 9), ("T", 12)]))
def test_every_count_can_be_said_in_every_unit(count: int, unit: tuple[str, int]) -> None:
    name, digits = unit
    whole, rest = divmod(count, 10**digits)
    assert read_count(f"{whole}.{rest:0{digits}}{name}") == count


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("0.0005k", "'0.0005k' is not a whole number of counts; give fewer digits, such as 0k"),
        ("25g", "'25g' is not a derivation; .* or a number with k, M, G or T .* such as 25G"),
        ("25 GB", "'25 GB' is not a derivation"),
        ("25GG", "is not a derivation"),
        ("1e9", "is not a derivation"),
        ("-1G", "is not a derivation"),
        ("٣G", "is not a derivation"),
        (f"{'9' * 31}G", "is not a derivation"),
        (1.5, "1.5 is not a count; .* such as 25G"),
        (True, "True is not a count"),
        (None, "None is not a count"),
    ],
)
def test_no_bound_of_a_count(value: object, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        read_count(value)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("24GiB", 24 * 1024**3),
        ("1.5 GB", 1_500_000_000),
        ("512 MiB", 512 * 1024**2),
        ("12 * 1024**3", 12 * 1024**3),
        (1_048_575, 1_048_575),
    ],
)
def test_a_bound_of_memory(value: object, count: int) -> None:
    assert read_memory("max_memory", value) == count


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("24", "max_memory '24' is 24 bytes without a unit; give one, such as 24GiB"),
        ("24G", "max_memory '24G' is not a memory size; give bytes, or a number with"),
        ("lots of it", "is not a derivation; .* or a memory size in quotes, such as 24GiB"),
        (1.5, "1.5 is not a count; .* or a memory size in quotes, such as 24GiB"),
        (True, "True is not a count"),
    ],
)
def test_no_bound_of_memory(value: object, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        read_memory("max_memory", value)
