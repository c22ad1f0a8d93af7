"""What a count has to be: expectations, the arithmetic they are written in, and outcomes."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from vitprof.errors import SpecError, unknown
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.op import Op
from vitprof.formulas.totals import totals

_MAX_POWER = 64  # an exponent beyond this is a mistake, and would take for ever
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


class Relation(StrEnum):
    """How what was found has to stand to what was expected."""

    EQUAL = "="
    AT_MOST = "<="


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A count that has to come out.

    Attributes:
        measure: what is counted.
        key: a total's name, or a layer's path.
        relation: equal, or a budget.
        derivation: the expected value as it was written down.
        expected: its value.
    """

    measure: Measure
    key: str
    relation: Relation
    derivation: str
    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an expectation.

    Attributes:
        what: what was expected of what, `params blocks.0.mixer`.
        relation: equal, or a budget.
        expected: the expected value, or the sentence that has to be true.
        found: the value, or the sentence that is.
        formula: our formula for the row with its numbers, where it has one.
        holds: whether it came out.
    """

    what: str
    relation: str
    expected: int | str
    found: int | str
    formula: str
    holds: bool

    @property
    def difference(self) -> int | None:
        """Found less expected, where both are numbers."""
        if isinstance(self.expected, int) and isinstance(self.found, int):
            return self.found - self.expected
        return None


def expect(
    measure: Measure, key: str, value: object, relation: Relation = Relation.EQUAL
) -> Expectation:
    """An expectation from a number or a derivation.

    Raises:
        SpecError: the value is neither.
    """
    return Expectation(
        measure=measure,
        key=key,
        relation=relation,
        derivation=str(value),
        expected=derive(value),
    )


def derive(value: object) -> int:
    """The value of a whole number or of a derivation such as `128*512 + 512`.

    A derivation is arithmetic on whole numbers with + - * // ** and parentheses; it is
    parsed, never evaluated as code. The sign × stands for * too.

    Raises:
        SpecError: it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise SpecError(f"{value!r} is no count; give a whole number or a derivation in quotes")
    try:
        tree = ast.parse(value.replace("×", "*").strip(), mode="eval")
        return _compute(tree.body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        raise SpecError(
            f"{value!r} is no derivation; give whole numbers with + - * // ** and parentheses"
        ) from None


def evaluate(tree: Layer, expectations: list[Expectation]) -> list[Outcome]:
    """Hold a model's formulas against expectations.

    Raises:
        SpecError: an expectation names neither a total nor a layer.
    """
    found = {measure: counts(tree, measure) for measure in {e.measure for e in expectations}}
    return [_outcome(expectation, found[expectation.measure]) for expectation in expectations]


def counts(tree: Layer, measure: Measure) -> dict[str, tuple[int, str]]:
    """Every total by name and every layer by path, folded and not: (count, formula)."""
    known = {name: (count, "") for name, count in totals(tree, measure).items()}
    for fold in (True, False):
        for node in tree.walk(fold=fold):
            if node.path in known:
                continue
            if isinstance(node.item, Op):
                size = measure.of(node.item)
                times = f"{node.repeat} × ({{}})" if node.repeat > 1 else "{}"
                formula = f"{times.format(size.formula)} = {times.format(size.numbers)}"
                known[node.path] = (size.value * node.repeat, formula)
            elif node.path:
                known[node.path] = (node.item.of_one(measure) * node.repeat, "")
    return known


def _outcome(expectation: Expectation, known: Mapping[str, tuple[int, str]]) -> Outcome:
    if expectation.key not in known:
        raise unknown(f"total or layer for {expectation.measure.value}", expectation.key, known)
    count, formula = known[expectation.key]
    equal = expectation.relation is Relation.EQUAL
    return Outcome(
        what=f"{expectation.measure.value} {expectation.key}",
        relation=expectation.relation,
        expected=expectation.expected,
        found=count,
        formula=formula,
        holds=count == expectation.expected if equal else count <= expectation.expected,
    )


def _compute(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_compute(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _compute(node.left), _compute(node.right)
        if isinstance(node.op, ast.Pow) and not 0 <= right <= _MAX_POWER:
            raise ValueError(right)
        return _OPERATORS[type(node.op)](left, right)
    raise ValueError(ast.dump(node))
