"""Derivations: arithmetic on whole numbers, parsed and never evaluated as code."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable

from vitprof.errors import SpecError
from vitprof.text import quoted

_LARGEST = 10**30  # far above any count; a mistyped power could run for hours
_ARITHMETIC = re.compile(r"[\d_+\-*/() ]+", re.ASCII)
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def derive(value: object) -> int:
    """Return the value of a whole number or of a derivation such as `128*512 + 512`.

    A derivation is arithmetic on whole numbers with + - * // ** and parentheses; it is
    parsed, never evaluated as code. The sign × means *.

    Raises:
        SpecError: the value is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > _LARGEST:
            raise SpecError("a count cannot have more than 30 digits; give a smaller whole number")
        return value
    if not isinstance(value, str):
        raise SpecError(
            f"{quoted(value)} is not a count; give a whole number or a derivation in quotes"
        )
    try:
        text = value.replace("×", "*").strip()
        if not _ARITHMETIC.fullmatch(text):
            raise ValueError(text)
        return _compute(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        rule = "give whole numbers with + - * // ** and parentheses"
        raise SpecError(f"{quoted(value)} is not a derivation; {rule}") from None


def _compute(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_compute(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _compute(node.left), _compute(node.right)
        if isinstance(node.op, ast.Pow) and not 0 <= right <= 100:
            raise ValueError(right)
        value = _OPERATORS[type(node.op)](left, right)
        if abs(value) > _LARGEST:
            raise ValueError(value)
        return value
    raise ValueError(ast.dump(node))
