"""Formulas on NumPy arrays: many configurations in one evaluation.

A formula adds, multiplies and divides its sizes. Here each size is an array with one element
per configuration, and each count is exactly the one of a single evaluation.

Some formulas also branch on an option: 0 selects a default, a square number of tokens has a
grid. So 0, 1 and squares are evaluated separately. If a formula takes the truth value of many
numbers, which `Integers` refuse, or if a count differs from that of a single evaluation, the
values of an option are evaluated one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import isqrt, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitprof.formulas.layer import Measure
from vitprof.subject import Configurable
from vitprof.sweeps.axis import Axis, Number
from vitprof.sweeps.integers import FITS, Array, Doubles, Fractions, Integers, Mask
from vitprof.sweeps.points import options_of, read_axes
from vitprof.values.options import Whole
from vitprof.values.size import Size

_AT_ONCE = 65_536  # configurations in one evaluation, about 10 MB of arrays

# Errors of a formula that takes many numbers for one.
_UNREADABLE = (ArithmeticError, AssertionError, AttributeError, TypeError, ValueError)

Counts = np.ma.MaskedArray[Any, np.dtype[Any]]
Values = Mapping[str, Any]  # by option: a number, or Integers, Fractions or Doubles


def counts(model: Configurable, axes: Mapping[str, object], measure: Measure) -> Counts:
    """Count the parameters or MACs of a model at every combination of options' values.

    Args:
        model: a model, whose values are used for options without an axis.
        axes: ranges or ascending values by option, of the model, its mixer, or `batch`.
        measure: parameters or MACs.

    Returns:
        A masked array with one axis per option, in their order. Invalid configurations are
        masked, such as a dim that is not divisible by the heads. Elements are `int64`, or
        Python integers (dtype `object`) if a count overflows 64 bits.

    Raises:
        SpecError: there is no such option, or it does not allow one of the values.
    """
    read = read_axes([model], axes)
    found = _Found.of(tuple(len(axis.values) for axis in read))
    for some in product(*(_alike(axis, squares=_counts_tokens(model, axis.name)) for axis in read)):
        _fill(model, [*some], measure, found)
    return np.ma.MaskedArray(found.counts, ~found.defined)


def defined(model: Configurable, option: str, sizes: Sequence[int]) -> Sequence[int]:
    """Return the sizes of an option at which a model is defined.

    Args:
        model: a model, whose values are used for the other options.
        option: an option of the model or its mixer; any size will do if it has no such option.
        sizes: sizes in ascending order.
    """
    kind = model.options().get(option)
    if not isinstance(kind, Whole):
        return sizes
    allowed = [
        size
        for size in sizes
        if kind.minimum <= size <= kind.maximum and (size % 2 or not kind.odd)
    ]
    axis = Axis(option, tuple(allowed))
    holds = np.zeros(len(allowed), np.bool_)
    for some in _alike(axis, squares=_counts_tokens(model, option)):
        for (which,) in _chunks([some]):
            holds[some.places[which]] = _defined_at(model, some.some(which.tolist()))
    return [allowed[place] for place in np.flatnonzero(holds)]


def _defined_at(model: Configurable, axis: _Axis) -> Any:
    """Return at which values all constraints hold, one by one if they cannot read arrays."""
    try:
        return _defined(_placed(model, _values([axis], (np.arange(len(axis.values)),))))
    except _UNREADABLE:
        if len(axis.values) == 1:
            raise
    return [_defined_at(model, axis.some([one])) for one in range(len(axis.values))]


@dataclass(frozen=True, slots=True)
class _Axis:
    """A subset of the values of an axis, and their indices in the result."""

    name: str
    values: tuple[Number, ...]
    places: NDArray[np.intp]

    def some(self, which: Sequence[int]) -> _Axis:
        return _Axis(self.name, tuple(self.values[one] for one in which), self.places[[*which]])

    def array(self, which: Array) -> Integers | Fractions | Doubles:
        """Return the values at these indices; no axis has both fractions and doubles."""
        own = self.values
        if isinstance(own[0], float):
            return Doubles.of([float(value) for value in own])[which]
        if all(isinstance(value, int) for value in own):
            return Integers.of([int(value) for value in own])[which]
        return Fractions.of([Fraction(value) for value in own])[which]


@dataclass(slots=True)
class _Found:
    """The result, filled in step by step.

    Attributes:
        counts: count of each configuration.
        defined: True for each configuration whose count is known.
    """

    counts: Array
    defined: Mask

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> _Found:
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.bool_))

    def set(self, places: tuple[Array, ...], counts: Any) -> None:
        """Store counts of valid configurations."""
        fits = counts.dtype != object if isinstance(counts, np.ndarray) else abs(counts) < FITS
        if not fits:
            self.counts = self.counts.astype(object)
        self.counts[places] = counts
        self.defined[places] = True


def _counts_tokens(model: Configurable, option: str) -> bool:
    kind = options_of(model)[option]
    return isinstance(kind, Whole) and kind.unit == "tokens"


def _alike(axis: Axis, *, squares: bool) -> list[_Axis]:
    """Group the values of an axis that a formula treats alike: 0, 1, squares, doubles, others."""
    groups: dict[object, list[int]] = {}
    for place, value in enumerate(axis.values):
        square = squares and isqrt(int(value)) ** 2 == value
        alone = value if value in (0, 1) else None
        groups.setdefault((alone, square, isinstance(value, float)), []).append(place)
    whole = _Axis(axis.name, axis.values, np.arange(len(axis.values)))
    return [whole.some(places) for places in groups.values()]


def _fill(model: Configurable, axes: list[_Axis], measure: Measure, found: _Found) -> None:
    """Fill in the counts at every combination of the axes' values."""
    if _evaluates(model, axes, measure, found):
        return
    fixed = _to_fix(model, axes, measure)
    for one in range(len(axes[fixed].values)):
        _fill(model, _with_one(axes, fixed, one), measure, found)


def _evaluates(
    model: Configurable, axes: list[_Axis], measure: Measure, found: _Found | None = None
) -> bool:
    """Evaluate the formula on all combinations and store the counts; False if it cannot be done."""
    loose = any(len(axis.values) > 1 for axis in axes)
    for which in _chunks(axes):
        try:
            defined, counts = _evaluate(model, _values(axes, which), measure)
        except _UNREADABLE:
            if not loose:
                raise
            return False
        if not np.any(defined):
            continue
        which = tuple(one[np.broadcast_to(defined, one.shape)] for one in which)
        if loose and not _as_alone(model, axes, which, measure, counts):
            return False
        if found is not None:
            found.set(
                tuple(axis.places[one] for axis, one in zip(axes, which, strict=True)), counts
            )
    return True


def _as_alone(
    model: Configurable, axes: list[_Axis], which: tuple[Array, ...], measure: Measure, counts: Any
) -> bool:
    """Return True if configurations at the ends of each axis have the same counts one by one."""
    ends = {int(end) for one in which for end in (one.argmin(), one.argmax())}
    counts = np.broadcast_to(counts, which[0].shape)
    return all(
        _evaluate(model, _values(axes, tuple(one[end] for one in which)), measure)
        == (True, counts[end])
        for end in ends
    )


def _to_fix(model: Configurable, axes: list[_Axis], measure: Measure) -> int:
    """Return the index of the axis to take value by value: one that suffices, or the shortest."""
    loose = [place for place, axis in enumerate(axes) if len(axis.values) > 1]
    loose.sort(key=lambda place: len(axes[place].values))
    few = [axis.some(sorted({0, len(axis.values) // 2, len(axis.values) - 1})) for axis in axes]
    for place in loose:
        some = _with_one(few, place, 0)
        if _evaluates(model, some, measure):
            return place
    return loose[0]


def _with_one(axes: list[_Axis], place: int, one: int) -> list[_Axis]:
    """Return the axes with the axis at `place` reduced to its value at `one`."""
    return [*axes[:place], axes[place].some([one]), *axes[place + 1 :]]


def _chunks(axes: list[_Axis]) -> Iterator[tuple[Array, ...]]:
    """Yield the indices into each axis of all combinations, `_AT_ONCE` at a time."""
    number = prod(len(axis.values) for axis in axes)
    for start in range(0, number, _AT_ONCE):
        yield _indices(axes, np.arange(start, min(start + _AT_ONCE, number)))


def _indices(axes: list[_Axis], combinations: Array) -> tuple[Array, ...]:
    shape = tuple(len(axis.values) for axis in axes)
    return np.unravel_index(combinations, shape) if shape else ()


def _values(axes: list[_Axis], which: tuple[Array, ...]) -> dict[str, Any]:
    """Return by option a number if it is the same for all, else an array as long as `which`."""
    return {
        axis.name: axis.values[int(one) if np.ndim(one) == 0 else 0]
        if len(axis.values) == 1 or np.ndim(one) == 0
        else axis.array(one)
        for axis, one in zip(axes, which, strict=True)
    }


def _evaluate(model: Configurable, values: Values, measure: Measure) -> tuple[Any, Any]:
    """Return which configurations are valid, and the counts of those."""
    defined = _defined(_placed(model, values))
    if not np.any(defined):
        return False, 0
    if isinstance(defined, np.ndarray) and not defined.all():
        many = (Integers, Fractions, Doubles)
        values = {
            name: value[defined] if isinstance(value, many) else value
            for name, value in values.items()
        }
    count: Any = _placed(model, values).tree(measure, values.get("batch", 1)).total(measure)
    return defined, count.values if isinstance(count, Integers) else count


def _placed(model: Configurable, values: Values) -> Configurable:
    """Return the model with these values, without validation."""
    own = {name: value for name, value in values.items() if name != "batch"}
    for name, value in own.items():
        if isinstance(value, Integers) and _counts_tokens(model, name):
            return model.placed({**own, "grid": _grid(value)})
    return model.placed(own)


def _grid(tokens: Integers) -> tuple[Size, Size] | None:
    """Return rows and columns if the tokens are squares, else None; all are squares or none is."""
    sides = [isqrt(number) for number in tokens.values.tolist()]
    if sides[0] ** 2 != tokens.values[0]:
        return None
    side: Any = Integers.of(sides)
    return Size(side, "rows"), Size(side, "columns")


def _defined(model: Configurable) -> Any:
    """Return a mask of the configurations at which all constraints hold, or one bool for all.

    Constraints are read in order, and the rest is skipped once no configuration is left.
    """
    defined: Any = True
    for constraint in model.every_constraint():
        defined = defined & np.asarray(constraint.holds)
        if not np.any(defined):
            return False
    return defined if np.ndim(defined) else bool(defined)
