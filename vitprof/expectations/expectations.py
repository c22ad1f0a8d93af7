"""Expectations of counts, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vitprof.errors import SpecError, guess
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.op import Op
from vitprof.formulas.totals import totals
from vitprof.text import quoted
from vitprof.values.arithmetic import derive


@dataclass(frozen=True, slots=True)
class Known:
    """A count, and its formula with numbers if a single formula gives it, else an empty string."""

    count: int
    formula: str = ""


class Relation(StrEnum):
    """Required relation of the count to the expected value."""

    EQUAL = "="
    AT_MOST = "<="


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A count that must hold.

    Attributes:
        measure: parameters or MACs.
        key: a total's name, or a layer's path.
        relation: equality, or at most a budget.
        derivation: the expected value as written, a number or an expression.
        expected: the expected value.
        line: line in the file; 0 without a file.
    """

    measure: Measure
    key: str
    relation: Relation
    derivation: str
    expected: int
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Outcome of an expectation.

    Attributes:
        what: measure and key, such as `params blocks.0.mixer`.
        relation: equality, or at most a budget.
        expected: the expected value, or the sentence that must be true.
        found: the value found, or the sentence that is true.
        formula: vitprof's formula of the row with its numbers; empty without one.
        holds: True if the expectation holds.
        line: line of the expectation in its file; 0 without a file.
    """

    what: str
    relation: str
    expected: int | str
    found: int | str
    formula: str
    holds: bool
    line: int = 0

    @property
    def difference(self) -> int | None:
        """Found value minus the expected one; None if one of them is a sentence."""
        if isinstance(self.expected, int) and isinstance(self.found, int):
            return self.found - self.expected
        return None


def expect(
    measure: Measure,
    key: str,
    value: object,
    relation: Relation = Relation.EQUAL,
    *,
    line: int = 0,
) -> Expectation:
    """Return the expectation that a count equals, or is at most, a number or a derivation.

    Raises:
        SpecError: the value is neither a number nor a derivation.
    """
    expected = derive(value)
    return Expectation(
        measure=measure,
        key=key,
        relation=relation,
        derivation=str(value),
        expected=expected,
        line=line,
    )


def evaluate(tree: Layer, expectations: list[Expectation]) -> list[Outcome]:
    """Compare a model's counts by formula with expectations.

    Raises:
        SpecError: an expectation names neither a total nor a layer.
    """
    found = {measure: counts(tree, measure) for measure in {e.measure for e in expectations}}
    return [_outcome(expectation, found[expectation.measure]) for expectation in expectations]


def counts(tree: Layer, measure: Measure) -> dict[str, Known]:
    """Return every total by name and every layer by path, equal blocks folded and unfolded."""
    known = {name: Known(count) for name, count in totals(tree, measure).items()}
    for fold in (True, False):
        for node in tree.walk(fold=fold):
            if node.path in known:
                continue
            if isinstance(node.item, Op):
                size = measure.of(node.item)
                times = f"{node.repeat} × ({{}})" if node.repeat > 1 else "{}"
                formula = f"{times.format(size.formula)} = {times.format(size.numbers)}"
                known[node.path] = Known(size.value * node.repeat, formula)
            elif node.path:
                known[node.path] = Known(node.item.of_one(measure) * node.repeat)
    return known


def find(known: Mapping[str, Known], measure: Measure, key: str) -> Known:
    """Return the count of the total or layer `key`.

    Raises:
        SpecError: there is no such total or layer.
    """
    if key in known:
        return known[key]
    raise SpecError(
        f"there is no total or layer {quoted(key)} in the {measure.value} of this model; "
        f"{guess(key, list(known))}`vitprof {measure.value} --full` lists the layers"
    )


def _outcome(expectation: Expectation, known: Mapping[str, Known]) -> Outcome:
    found = find(known, expectation.measure, expectation.key)
    equal = expectation.relation is Relation.EQUAL
    return Outcome(
        what=f"{expectation.measure.value} {expectation.key}",
        relation=expectation.relation,
        expected=expectation.expected,
        found=found.count,
        formula=found.formula,
        holds=found.count == expectation.expected if equal else found.count <= expectation.expected,
        line=expectation.line,
    )
