"""Arrays of exact integers: int64 if every result fits, Python integers if one may not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mask = NDArray[np.bool_]

FITS = 2**63  # a smaller magnitude fits int64


class Integers:
    """Whole numbers, one per configuration, with the arithmetic that formulas use.

    `bound` is an exact Python int that no magnitude exceeds. Every operation computes the bound
    of its result first, and uses Python integers only if the result might overflow 64 bits.
    `bool()` raises TypeError, so that a formula cannot take one branch for all by mistake.
    """

    __slots__ = ("bound", "values")
    __array_ufunc__ = None  # so that NumPy leaves arithmetic to this class
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Array, bound: int) -> None:
        self.values = values
        self.bound = bound

    @classmethod
    def of(cls, numbers: Sequence[int]) -> Integers:
        """Build an array from numbers of any magnitude."""
        bound = max(map(abs, numbers), default=0)
        return cls(np.array(numbers, np.int64 if bound < FITS else object), bound)

    def __getitem__(self, which: Array) -> Integers:
        return Integers(self.values[which], self.bound)

    def __bool__(self) -> bool:
        raise TypeError("many numbers are neither true nor false")

    def __add__(self, other: Integers | int) -> Integers:
        return _made(operator.add, self, other, self.bound + _bound(other))

    __radd__ = __add__

    def __sub__(self, other: Integers | int) -> Integers:
        return _made(operator.sub, self, other, self.bound + _bound(other))

    def __rsub__(self, other: int) -> Integers:
        return _made(operator.sub, other, self, self.bound + _bound(other))

    def __mul__(self, other: Integers | int) -> Integers:
        return _made(operator.mul, self, other, self.bound * _bound(other))

    def __rmul__(self, other: int | float) -> Integers | Doubles:
        return Doubles.of([other]) * self if isinstance(other, float) else self * other

    def __floordiv__(self, other: Integers | int) -> Integers:
        return _made(operator.floordiv, self, other, _ceil(self.bound, _least(other)))

    def __rfloordiv__(self, other: int) -> Integers:
        return _made(operator.floordiv, other, self, _ceil(abs(other), _least(self)))

    def __mod__(self, other: Integers | int) -> Integers:
        _least(other)
        return _made(operator.mod, self, other, _bound(other))

    def __rmod__(self, other: int) -> Integers:
        _least(self)
        return _made(operator.mod, other, self, self.bound)

    def __pow__(self, exponent: int) -> Integers:
        return _made(operator.pow, self, exponent, self.bound**exponent)

    def __eq__(self, other: object) -> Mask:  # type: ignore[override]
        return self._against(other, operator.eq)

    def __ne__(self, other: object) -> Mask:  # type: ignore[override]
        return self._against(other, operator.ne)

    def __lt__(self, other: Integers | int) -> Mask:
        return self._against(other, operator.lt)

    def __le__(self, other: Integers | int) -> Mask:
        return self._against(other, operator.le)

    def __gt__(self, other: Integers | int) -> Mask:
        return self._against(other, operator.gt)

    def __ge__(self, other: Integers | int) -> Mask:
        return self._against(other, operator.ge)

    def _against(self, other: object, operation: Callable[[Any, Any], Any]) -> Mask:
        compared: Mask = np.asarray(operation(self.values, _raw(other)), np.bool_)
        return compared


class Fractions:
    """Exact fractions, one per configuration, with the arithmetic that formulas use on a ratio."""

    __slots__ = ("denominator", "numerator")

    def __init__(self, numerator: Integers, denominator: Integers) -> None:
        self.numerator = numerator
        self.denominator = denominator

    @classmethod
    def of(cls, numbers: Sequence[Fraction]) -> Fractions:
        """Build an array from fractions."""
        return cls(
            Integers.of([number.numerator for number in numbers]),
            Integers.of([number.denominator for number in numbers]),
        )

    def __getitem__(self, which: Array) -> Fractions:
        return Fractions(self.numerator[which], self.denominator[which])

    def __rsub__(self, other: int) -> Fractions:
        return Fractions(self.denominator * other - self.numerator, self.denominator)


class Doubles:
    """Doubles, one per configuration, with the arithmetic that formulas use on a ratio.

    Products are rounded as those of Python's floats are.
    """

    __slots__ = ("values",)
    __array_ufunc__ = None

    def __init__(self, values: Array) -> None:
        self.values = values

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Doubles:
        """Build an array from floats."""
        return cls(np.array(numbers, np.float64))

    def __getitem__(self, which: Array) -> Doubles:
        return Doubles(self.values[which])

    def __rsub__(self, other: int) -> Doubles:
        return Doubles(other - self.values)

    def __mul__(self, other: Integers | int) -> Doubles:
        return Doubles(self.values * np.asarray(_raw(other)).astype(np.float64))

    def __trunc__(self) -> Integers:
        return Integers.of([int(value) for value in self.values.tolist()])


def _made(
    operation: Callable[[Any, Any], Any], left: Integers | int, right: Integers | int, bound: int
) -> Integers:
    """Apply an operation whose result has no magnitude above `bound`."""
    if max(bound, _bound(left), _bound(right)) < FITS:
        return Integers(operation(_raw(left), _raw(right)), bound)
    values = operation(_objects(left), _objects(right))
    return Integers.of(values.tolist())


def _least(divisor: Integers | int) -> int:
    """Return the least magnitude of a divisor.

    Raises:
        ZeroDivisionError: an element is zero.
    """
    least = int(np.min(np.abs(_raw(divisor))))
    if not least:
        raise ZeroDivisionError("a divisor is zero")
    return least


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _objects(value: Integers | int) -> Any:
    return value.values.astype(object) if isinstance(value, Integers) else value


def _bound(value: Integers | int) -> int:
    return value.bound if isinstance(value, Integers) else abs(value)


def _raw(value: Any) -> Any:
    return value.values if isinstance(value, Integers) else value
