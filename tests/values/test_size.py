"""`Size`: a formula as names, as numbers and as a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
from cases import for_each
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from spellings import SPELLINGS, Spelling

from vitprof.formulas.layer import OF_FORWARD, Measure
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.mixers.attention import Attention
from vitprof.values.size import ONE, ZERO, Size, product

a, b, c = Size(5, "a"), Size(7, "b"), Size(11, "c")


@pytest.mark.parametrize(
    ("size", "formula", "numbers", "value"),
    [
        (a, "a", "5", 5),
        (Size(5), "5", "5", 5),
        (a + b, "a + b", "5 + 7", 5 + 7),
        (b - a, "b - a", "7 - 5", 7 - 5),
        (a * b, "a × b", "5 × 7", 5 * 7),
        (c // a, "c / a", "11 / 5", 11 // 5),
        (a + 3, "a + 3", "5 + 3", 5 + 3),
        (3 + a, "3 + a", "3 + 5", 3 + 5),
        (3 * a, "3 × a", "3 × 5", 3 * 5),
        (c // 2, "c / 2", "11 / 2", 11 // 2),
        (a - 2, "a - 2", "5 - 2", 5 - 2),
    ],
    ids=str,
)
def test_arithmetic_is_remembered(size: Size, formula: str, numbers: str, value: int) -> None:
    assert (size.formula, size.numbers, size.value) == (formula, numbers, value)


@pytest.mark.parametrize(
    ("size", "formula"),
    [
        ((a + b) * c, "(a + b) × c"),
        (c * (a + b), "c × (a + b)"),
        (a * b + c, "a × b + c"),
        (c + a * b, "c + a × b"),
        ((a + b) + c, "a + b + c"),
        (a + (b + c), "a + b + c"),
        (a - b + c, "a - b + c"),
        (a - (b + c), "a - (b + c)"),
        (a - (b - c), "a - (b - c)"),
        (a * b * c, "a × b × c"),
        (a * b // c, "a × b / c"),
        (a * (b // c), "a × (b / c)"),
        (c // (a * b), "c / (a × b)"),
        (c // b // a, "c / b / a"),
        (c // (b // a), "c / (b / a)"),
    ],
    ids=str,
)
def test_parentheses_stand_where_the_value_needs_them(size: Size, formula: str) -> None:
    assert size.formula == formula


def test_a_product_on_the_right_keeps_the_writers_grouping() -> None:
    # As in the report: heads × N × (head dim × N).
    assert (a * (b * c)).formula == "a × (b × c)"


def test_the_literal_1_is_not_spelled_in_a_product() -> None:
    assert (a * 1).formula == (1 * a).formula == (a * ONE).formula == "a"
    assert product((ONE, a, ONE, b)).formula == "a × b"
    assert product(()).value == 1


def test_a_1_with_a_name_and_a_1_in_a_sum_are_spelled() -> None:
    channels = Size(1, "channels")
    assert (a * channels).formula == "a × channels"
    assert (a * channels).numbers == "5 × 1"
    assert (a + 1).formula == "a + 1"


def test_zero_is_a_number_like_any_other() -> None:
    assert (ZERO.formula, ZERO.value, (a * ZERO).value) == ("0", 0, 0)


def test_a_name_of_its_own_hides_the_arithmetic() -> None:
    hidden = (a + b).named("N")
    assert (hidden.formula, hidden.numbers, hidden.value) == ("N", "12", 5 + 7)
    assert (hidden * c).numbers == "12 × 11"


def test_repr_shows_the_formula_and_the_value() -> None:
    assert repr((a + b) * c) == "Size((a + b) × c = 132)"


# Arithmetic as Python spells it, every step in parentheses: `((a + b) // c)`.
EXPRESSIONS = st.recursive(
    st.sampled_from("abc"),
    lambda inner: st.builds(
        "({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "//"]), inner
    ),
    max_leaves=8,
)
SETTINGS = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def evaluate(expression: str, **names: Any) -> Any:
    """Compute `expression` with `names`; reject the draw if it divides by zero."""
    try:
        return eval(expression, names)
    except ZeroDivisionError:
        reject()


@SETTINGS
@given(EXPRESSIONS)
def test_what_is_printed_computes_to_the_value(expression: str) -> None:
    size: Size = evaluate(expression, a=a, b=b, c=c)
    assert size.value == evaluate(expression, a=5, b=7, c=11)
    for text in (size.formula, size.numbers):
        assert (
            eval(text.replace("×", "*").replace("/", "//"), {"a": 5, "b": 7, "c": 11}) == size.value
        )


@SETTINGS
@given(EXPRESSIONS)
def test_arrays_give_what_ints_give(expression: str) -> None:
    values = {"a": [5, 13, 2], "b": [7, 3, 17], "c": [11, 19, 23]}
    one_by_one = [
        evaluate(expression, a=a, b=b, c=c) for a, b, c in zip(*values.values(), strict=True)
    ]
    arrays: dict[str, Any] = {name: np.array(value) for name, value in values.items()}
    size: Size = evaluate(expression, **{name: Size(array, name) for name, array in arrays.items()})
    assert np.array_equal(size.value, one_by_one)


@SETTINGS
@given(EXPRESSIONS)
def test_symbols_give_what_ints_give(expression: str) -> None:
    values = {"a": 5, "b": 7, "c": 11}
    expected = evaluate(expression, **values)
    symbols: dict[str, Any] = {name: sympy.Symbol(name, integer=True) for name in values}
    size: Size = evaluate(expression, **{name: Size(symbols[name], name) for name in values})
    value: Any = size.value
    assert value.subs({symbols[name]: values[name] for name in values}) == expected


@for_each("spelling", [one for one in SPELLINGS if one.model != "pyramid"])
@pytest.mark.parametrize("measure", OF_FORWARD)
def test_a_whole_model_is_counted_at_many_widths_at_once(
    spelling: Spelling, measure: Measure
) -> None:
    dims = [12, 24, 132]
    one_by_one = [spelling.specify({"dim": dim}) for dim in dims]
    sweep: Any = spelling.specify().substitute(dim=np.array(dims)).formula(3)
    assert list(sweep.total(measure)) == [spec.formula(3).total(measure) for spec in one_by_one]


def test_attention_is_a_polynomial_of_its_sizes() -> None:
    B, N, h, d = sympy.symbols("B N h d", integer=True, positive=True)
    D = h * d
    sizes = MixerSizes(tokens=Size(N), dim=Size(D), heads=Size(h))
    macs = Attention().formula(sizes, Size(B)).total(Measure.MACS)
    assert sympy.expand(macs - B * (4 * N * D**2 + 2 * N**2 * D)) == 0


def test_a_name_keeps_what_it_names() -> None:
    width = (3 * a).named("out")
    product_of_both = b * (width + 1)
    assert (product_of_both.formula, product_of_both.numbers) == ("b × (out + 1)", "7 × (15 + 1)")
    assert width.definition is not None
    assert width.definition.formula == "3 × a"
    assert [size.name for size in product_of_both.names()] == ["b", "out", "a"]
    again = width.named("hidden")
    assert again.definition is width
    assert (a.definition, (a + b).definition) == (None, None)


def test_terms_of_a_sum() -> None:
    total = a * b - (b + c) + 2 - a
    assert [(sign, size.formula) for sign, size in total.terms()] == [
        *(("", "a × b"), ("-", "b + c"), ("+", "2"), ("-", "a")),
    ]
    assert (ONE * ONE * a).terms()[0][1].formula == "a"
