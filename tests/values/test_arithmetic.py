"""Derivations: the arithmetic of whole numbers, and what is none."""

from __future__ import annotations

import ast
import warnings

import pytest
from cases import for_each
from hypothesis import given, settings
from hypothesis import strategies as st

from vitprof.errors import SpecError
from vitprof.values.arithmetic import derive


def by_python(expression: ast.expr) -> int:
    value = eval(ast.unparse(expression))
    assert isinstance(value, int)
    return value


def is_a_count(expression: ast.expr) -> bool:
    return abs(by_python(expression)) < 10**30


def joined(inner: st.SearchStrategy[ast.expr]) -> st.SearchStrategy[ast.expr]:
    signs = st.sampled_from([ast.Add(), ast.Sub(), ast.Mult()])
    some, few = (st.integers(low, high).map(ast.Constant) for low, high in ((1, 99), (0, 4)))
    # Each step is kept small before the next is taken: a power of a power of a power is endless.
    return st.one_of(
        st.builds(ast.BinOp, inner, signs, inner),
        st.builds(ast.BinOp, inner, st.just(ast.FloorDiv()), some),
        st.builds(ast.BinOp, inner, st.just(ast.Pow()), few),
        st.builds(ast.UnaryOp, st.just(ast.USub()), inner),
    ).filter(is_a_count)


expressions = st.recursive(st.integers(0, 999).map(ast.Constant), joined, max_leaves=12)


@settings(deadline=None)
@given(expression=expressions)
def test_a_derivation_is_pythons_arithmetic(expression: ast.expr) -> None:
    text = ast.unparse(expression)
    assert derive(text) == derive(text.replace("*", "×")) == by_python(expression)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("128*512 + 512", 128 * 512 + 512),
        ("  2 + 3*4 ", 14),
        ("(2 + 3)*4", 20),
        ("7 - 2 - 1", 4),
        ("100 // 7 // 2", 7),
        ("-7 // 2", -4),
        ("2**3**2", 512),
        ("-2**2", -4),
        ("2**99", 2**99),
        ("1**100", 1),
        ("12 × (256 + 66_048)", 12 * 66_304),
        (22_240, 22_240),
        (0, 0),
    ],
)
def test_derivations(text: object, value: int) -> None:
    assert derive(text) == value


NO_DERIVATIONS: list[object] = [
    "",
    " ",
    "x",
    "two",
    "__import__('os')",
    "().__class__",
    "[1][0]",
    "len('a')",
    "lambda: 1",
    "1 if 1 else 2",
    "(x := 3)",
    "f'{1}'",
    "'1'",
    "True",
    "None",
    "1e3",
    "1.0",
    "1j",
    "1/2",
    "7 % 2",
    "1 << 3",
    "1 | 2",
    "~1",
    "not 1",
    "1 < 2",
    "1 and 2",
    "1and 2",
    "1 is 1",
    "1 1",
    "1,2",
    "1; 2",
    "1\n2",
    "1 +",
    "(1",
    "0777",
    "\0",
    "'\\d'",
    "1//0",
    "2**-1",
    "1**101",
    "2**100",
    "2**10**10",
    "9**99",
    "10**30 + 1",
    "10**30 * 10**30 // 10**30",
    "9" * 5000,
    "(" * 5000 + "1" + ")" * 5000,
    "-" * 50_000 + "1",
    "1" + "+1" * 50_000,
    1.0,
    1.5,
    True,
    False,
    None,
    [1],
    {"a": 1},
    b"1",
    16**5000,
]


@for_each("value", NO_DERIVATIONS)
def test_what_is_no_derivation(value: object) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with pytest.raises(SpecError, match="whole number"):
            derive(value)
    assert heard == []
