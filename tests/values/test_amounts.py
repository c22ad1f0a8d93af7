"""Amounts with their units."""

from __future__ import annotations

import pytest

from vitprof.values.amounts import Bytes, Seconds, Signed, Times


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (Bytes(2**20 - 1), "1,048,575 bytes"),
        (Bytes(2**20), "1.0 MiB"),
        (Bytes(1536 * 2**30), "1,536.00 GiB"),
        (Signed(-3_200), "−3,200"),
        (Signed(0), "+0"),
        (Seconds(0.02), "20.0 ms"),
        (Seconds(0.000_02), "20.0 µs"),
        (Seconds(12.345), "12.3 s"),
        (Times(0.5), "×0.50"),
        (Times(0.0123), "×0.012"),
        (Times(1234.5), "×1,234.50"),
    ],
)
def test_amounts_bear_their_units(amount: object, words: str) -> None:
    assert str(amount) == words
