"""Sizes of memory: read from text as exact bytes, and shown."""

from __future__ import annotations

import pytest

from vitprof.errors import SpecError
from vitprof.values.amounts import Bytes
from vitprof.values.bytes import read_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GiB", 24 * 1024**3),
        ("10.5GB", 10_500_000_000),
        ("512 MiB", 512 * 1024**2),
        ("1.5kib", 1536),
        ("2kB", 2000),
        ("1TiB", 1024**4),
        ("7B", 7),
        (" 7b ", 7),
        # Fractions of a byte are dropped; floats would round.
        ("0.0019kB", 1),
        ("9007199254740993", 9007199254740993),
        # From 1 MiB on, a number alone is bytes.
        ("1048576", 1024**2),
    ],
)
def test_sizes_of_memory(text: str, size: int) -> None:
    assert read_bytes("limit", text) == size


@pytest.mark.parametrize(
    "text",
    ["", "GiB", "24G", "24Gi", "-1GiB", "1e9", "1,5GB", "1/2GB", "nan", "24 G B", "٣GiB", "1.GB"],
)
def test_sizes_that_cannot_be_read(text: str) -> None:
    with pytest.raises(SpecError, match=r"(?s)^limit .*is not a memory size; .*such as 24GiB$"):
        read_bytes("limit", text)


def test_size_of_too_many_digits() -> None:
    with pytest.raises(SpecError, match="is not a memory size"):
        read_bytes("limit", "9" * 5000)


@pytest.mark.parametrize("text", ["0", "0GiB", "0.5", "0.0001kB"])
def test_no_memory_at_all(text: str) -> None:
    with pytest.raises(SpecError, match="one byte or more"):
        read_bytes("limit", text)


@pytest.mark.parametrize(
    ("text", "size"), [("24", "24"), ("1", "1"), ("80000", "80,000"), ("1048575", "1,048,575")]
)
def test_a_forgotten_unit_is_asked_for(text: str, size: str) -> None:
    """Nobody means 24 bytes by 24."""
    wanted = (
        f"limit '{text}' is {size} bytes without a unit; give one, such as {text}GiB or {text}B"
    )
    with pytest.raises(SpecError) as raised:
        read_bytes("limit", text)
    assert str(raised.value) == wanted


def test_sizes_shown() -> None:
    sizes = (0, 1024**2 - 1, 1024**2, 24 * 1024**3, 1536 * 1024**3)
    shown = ["0 bytes", "1,048,575 bytes", "1.0 MiB", "24.00 GiB", "1,536.00 GiB"]
    assert [str(Bytes(size)) for size in sizes] == shown
