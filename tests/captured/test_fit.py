"""Closed forms of dimensions: which are found, which are refused, and how they are spelled."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from vitprof.captured.fit import Fitted, Point, fit
from vitprof.captured.probe import _points
from vitprof.captured.sizes import Variable
from vitprof.values.size import Size

Rule = Callable[[Point], int]


def points(*variables: tuple[str, int, int]) -> list[Point]:
    """Return the points at which a module with these names, values and steps is captured."""
    own = [Variable(name, value, step, ()) for name, value, step in variables]
    usual = {one.name: one.value for one in own}
    return [
        *({**usual, "B": batch} for batch in (2, 3, 5)),
        *({**usual, **point} for point in _points(own)),
    ]


IMAGE = points(("H", 224, 16), ("W", 160, 16))
SQUARE = points(("S", 224, 16))
TOKENS = points(("N", 50, 1))
BATCHES = points()


def found(rule: Rule, at: list[Point]) -> Fitted:
    fitted = fit([rule(point) for point in at], at)
    assert fitted is not None
    return fitted


def size(fitted: Fitted, point: Point) -> Size:
    return fitted.size({name: Size(number, name) for name, number in point.items()})


def grid(point: Point) -> int:
    return point["H"] // 16 * (point["W"] // 16)


# Each row: what a dimension is, where, and its arithmetic with names and with numbers.
SPELLED: list[tuple[Rule, list[Point], str, str]] = [
    (lambda p: 7, IMAGE, "7", "7"),
    (lambda p: p["B"], IMAGE, "B × 1", "2 × 1"),
    (lambda p: 3 * p["B"] + 1, IMAGE, "B × 3 + 1", "2 × 3 + 1"),
    (lambda p: p["H"] // 16, IMAGE, "H / 16", "224 / 16"),
    (lambda p: p["W"] // 4 - 1, IMAGE, "W / 4 - 1", "160 / 4 - 1"),
    (lambda p: grid(p) + 1, IMAGE, "H / 16 × (W / 16) + 1", "224 / 16 × (160 / 16) + 1"),
    (
        lambda p: p["B"] * (grid(p) + 1),
        IMAGE,
        "B × (H / 16 × (W / 16) + 1)",
        "2 × (224 / 16 × (160 / 16) + 1)",
    ),
    (
        lambda p: (p["H"] // 16 - 1) * (p["W"] // 16 + 2),
        IMAGE,
        "(H / 16 - 1) × (W / 16 + 2)",
        "(224 / 16 - 1) × (160 / 16 + 2)",
    ),
    # Windows of 7 × 7 patches of 4 × 4.
    (
        lambda p: p["B"] * (p["H"] // 28) * (p["W"] // 28),
        points(("H", 224, 28), ("W", 168, 28)),
        "B × (H / 28 × (W / 28))",
        "2 × (224 / 28 × (168 / 28))",
    ),
    (
        lambda p: (p["S"] // 16) ** 2 + 1,
        SQUARE,
        "S / 16 × (S / 16) + 1",
        "224 / 16 × (224 / 16) + 1",
    ),
    (lambda p: p["N"] - 1, TOKENS, "N - 1", "50 - 1"),
    (lambda p: p["B"] * p["N"] ** 2, TOKENS, "B × (N × N)", "2 × (50 × 50)"),
    # No factor of these is a whole number: they are spelled as sums.
    (lambda p: 3 * (p["S"] // 16) ** 2, SQUARE, "S × (S × 3) / 256", "224 × (224 × 3) / 256"),
    (
        lambda p: p["N"] * (p["N"] - 1) // 2,
        TOKENS,
        "(N × -1 + N × (N × 1)) / 2",
        "(50 × -1 + 50 × (50 × 1)) / 2",
    ),
    (lambda p: 99 - p["N"], TOKENS, "N × -1 + 99", "50 × -1 + 99"),
]


@pytest.mark.parametrize(("rule", "at", "formula", "numbers"), SPELLED)
def test_a_closed_form(rule: Rule, at: list[Point], formula: str, numbers: str) -> None:
    fitted = found(rule, at)
    spelled = size(fitted, at[0])
    assert (spelled.formula, spelled.numbers) == (formula, numbers)
    for point in at:
        assert size(fitted, point).value == rule(point) == fitted.at(point)


def test_a_closed_form_holds_at_other_sizes() -> None:
    fitted = found(lambda p: p["B"] * (grid(p) + 1), IMAGE)
    elsewhere = {"B": 7, "H": 16 * 31, "W": 16 * 11}
    assert size(fitted, elsewhere).value == 7 * (31 * 11 + 1)


def test_values_at_arrays() -> None:
    fitted = found(lambda p: p["N"] * (p["N"] - 1) // 2, TOKENS)
    tokens: Any = np.array([3, 50, 1001])
    values: Any = fitted.size({"B": Size(2, "B"), "N": Size(tokens, "N")}).value
    assert values.tolist() == [3, 1225, 500_500]


@pytest.mark.parametrize(
    ("rule", "at"),
    [
        (lambda p: p["B"] ** 2, BATCHES),
        (lambda p: -(-p["N"] // 2), TOKENS),  # rounded up
        (lambda p: max(p["N"], 52), TOKENS),
        (lambda p: p["H"] // 32 * (p["W"] // 16), IMAGE),  # 15 / 2 is rounded down
        (lambda p: p["H"] ** 2, IMAGE),
        (lambda p: p["N"] ** 3, TOKENS),
        (lambda p: p["B"] * p["N"] + 1, TOKENS),
        # Right wherever the form is determined, wrong where it is verified.
        (lambda p: grid(p) + (p["H"] == 224 + 9 * 16), IMAGE),
        (lambda p: p["N"] + (p["N"] == 57), TOKENS),
        (lambda p: 3 * p["B"] + (p["B"] == 5), BATCHES),
    ],
)
def test_what_has_no_closed_form(rule: Rule, at: list[Point]) -> None:
    assert fit([rule(point) for point in at], at) is None


def test_no_form_is_fitted_to_as_many_points_as_it_has_terms() -> None:
    two: list[Point] = [{"B": 2}, {"B": 3}]
    assert fit([5, 9], two) is None
    assert fit([4, 6], two) == Fitted(((("B",), Fraction(2)),))
    assert fit([5, 5], two) == Fitted((((), Fraction(5)),))
    assert fit([5, 9, 17], [*two, {"B": 5}]) == Fitted((((), Fraction(-3)), (("B",), Fraction(4))))


def test_the_batch_as_a_factor() -> None:
    fitted = found(lambda p: p["B"] * (grid(p) + 1), IMAGE)
    assert fitted.variables == {"B", "H", "W"}
    assert fitted.without_batch() == found(lambda p: grid(p) + 1, IMAGE)
    assert found(lambda p: 3 * p["B"] + 1, IMAGE).without_batch() is None
    assert found(grid, IMAGE).without_batch() is None
    assert found(lambda p: 0, IMAGE).without_batch() is None
