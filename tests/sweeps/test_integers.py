"""Many integers and fractions at once, at and beyond 64 bits."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vitprof.sweeps.integers import Fractions, Integers


def test_intermediates_beyond_64_bits() -> None:
    a, b = Integers.of([2**40, 3]), Integers.of([2**40, 5])
    product = a * b
    assert product.values.tolist() == [2**80, 15]
    assert (product // b).values.tolist() == [2**40, 3]
    assert (product // b).values.dtype == np.int64
    assert (product - product + a).values.tolist() == [2**40, 3]
    assert (product % b).values.tolist() == [0, 0]
    assert (2**70 // a).values.tolist() == [2**30, 2**70 // 3]
    assert (a // 2**70).values.tolist() == [0, 0]
    assert (a % 2**70).values.tolist() == [2**40, 3]
    assert (2**70 - a).values.tolist() == [2**70 - 2**40, 2**70 - 3]
    assert (a**3).values.tolist() == [2**120, 27]
    # Just within and just beyond the range of int64 that is used, -2^63 < x < 2^63.
    edge = Integers.of([2**62, 1])
    assert (edge + (2**62 - 1)).values.dtype == np.int64
    assert (edge + edge).values.tolist() == [2**63, 2]
    assert (edge * -2).values.tolist() == [-(2**63), -2]
    assert (a == 3).tolist() == [False, True]
    assert (b > a).tolist() == [False, True]


def test_many_numbers_have_no_truth() -> None:
    numbers = Integers.of([1, 2])
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(numbers)
    with pytest.raises(ZeroDivisionError):
        _ = 5 // Integers.of([1, 0])
    ratios = 1 - Fractions.of([Fraction(1, 3), Fraction(3, 4)])
    assert ratios.numerator.values.tolist() == [2, 1]
    assert ratios.denominator.values.tolist() == [3, 4]
