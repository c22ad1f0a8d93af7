"""Expectations of counts, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, StrEnum

from vitprof.errors import SpecError, guess, unknown
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.op import Op
from vitprof.formulas.totals import totals
from vitprof.request.workload import BATCH
from vitprof.text import quoted
from vitprof.values.arithmetic import derive
from vitprof.values.bounds import read_count, read_memory


@dataclass(frozen=True, slots=True)
class Known:
    """A count, with its formula and its numbers if a single formula gives it, else empty."""

    count: int
    formula: str = ""
    numbers: str = ""


class Relation(StrEnum):
    """Required relation of the count to the expected value."""

    EQUAL = "="
    AT_MOST = "<="
    AT_LEAST = ">="

    def holds(self, found: int, expected: int) -> bool:
        """True if the relation holds between the count found and the expected value."""
        if self is Relation.EQUAL:
            return found == expected
        return found <= expected if self is Relation.AT_MOST else found >= expected


_COMMANDS = {  # that list the layers
    Measure.PARAMS: "params",
    Measure.MACS: "macs",
    Measure.TRAINING: "macs --training",
}


class StepMeasure(Enum):
    """A property of a step, beside the counts of its ops."""

    MEMORY = "memory"  # in bytes
    BATCH = "batch"  # the largest that fits, in images


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A count that must hold.

    Attributes:
        measure: parameters, MACs, memory or the batch.
        key: a total's name, or a layer's path.
        relation: equality, at most a budget, or at least a bound.
        derivation: the expected value as written, a number or an expression.
        expected: the expected value.
        line: line in the file; 0 without a file.
        place: keys of the value in its table of the file; empty without a file.
    """

    measure: Measure | StepMeasure
    key: str
    relation: Relation
    derivation: str
    expected: int
    line: int = 0
    place: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Outcome of an expectation.

    Attributes:
        what: measure and key, such as `params blocks.0.mixer`.
        relation: equality, at most a budget, or at least a bound.
        expected: the expected value, or the sentence that must be true.
        found: the value found, or the sentence that is true.
        formula: vitprof's formula of the row with its numbers; empty without one.
        holds: True if the expectation holds.
        line: line of the expectation in its file; 0 without a file.
        unit: unit of the values, `bytes` or `images`; empty for a count.
        derivation: value found as a derivation that a check file takes; empty if no single formula
            gives it.
        place: keys of the expected value in its table of the file; empty if it has none.
    """

    what: str
    relation: str
    expected: int | str
    found: int | str
    formula: str
    holds: bool
    line: int = 0
    unit: str = ""
    derivation: str = ""
    place: tuple[str, ...] = ()

    @property
    def difference(self) -> int | None:
        """Found value minus the expected one; None if one of them is a sentence."""
        if isinstance(self.expected, int) and isinstance(self.found, int):
            return self.found - self.expected
        return None


def expect(
    measure: Measure | StepMeasure,
    key: str,
    value: object,
    relation: Relation = Relation.EQUAL,
    *,
    line: int = 0,
    place: tuple[str, ...] = (),
) -> Expectation:
    """Return the expectation that a count equals, or keeps, a number or a derivation.

    Only a bound may have a unit, such as `25G` or `24GiB`: an exact count has all its digits.

    Raises:
        SpecError: the value is neither a number nor a derivation.
    """
    if relation is Relation.EQUAL:
        expected = derive(value)
    elif measure is StepMeasure.MEMORY:
        expected = read_memory("max_memory", value)
    elif measure is StepMeasure.BATCH:
        expected = BATCH.read("min_batch", value)
    else:
        expected = read_count(value)
    return Expectation(
        measure=measure,
        key=key,
        relation=relation,
        derivation=str(value),
        expected=expected,
        line=line,
        place=place,
    )


def evaluate(tree: Layer, expectations: list[Expectation]) -> list[Outcome]:
    """Compare a model's counts by formula with expectations.

    Raises:
        SpecError: an expectation names neither a total nor a layer.
    """
    measures = [one for one in Measure if any(it.measure is one for it in expectations)]
    found: dict[Measure | StepMeasure, dict[str, Known]] = {
        measure: counts(tree, measure) for measure in measures
    }
    return [outcome(one, find(found[one.measure], one.measure, one.key)) for one in expectations]


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
                known[node.path] = Known(
                    size.value * node.repeat,
                    times.format(size.formula),
                    times.format(size.numbers),
                )
            elif node.path:
                known[node.path] = Known(node.item.of_one(measure) * node.repeat)
    return known


def find(known: Mapping[str, Known], measure: Measure | StepMeasure, key: str) -> Known:
    """Return the count of the total or layer `key`.

    Raises:
        SpecError: there is no such total or layer.
    """
    if key in known:
        return known[key]
    if isinstance(measure, StepMeasure):
        raise unknown(f"total in the {measure.value} of this step", key, known)
    raise SpecError(
        f"there is no total or layer {quoted(key)} in the {measure.value} of this model; "
        f"{guess(key, list(known))}`vitprof {_COMMANDS[measure]} --full` lists the layers"
    )


def derivation(numbers: str, count: int) -> str:
    """Return a formula with numbers as a derivation; empty if none says the same."""
    text = numbers.replace("×", "*").replace(" / ", " // ")
    with suppress(SpecError):
        if derive(text) == count:
            return text
    return ""


_UNITS = {StepMeasure.MEMORY: "bytes", StepMeasure.BATCH: "images"}


def outcome(expectation: Expectation, found: Known) -> Outcome:
    """Return the outcome of an expectation for the count that was found."""
    measure = expectation.measure
    return Outcome(
        what=f"{measure.value} {expectation.key}",
        relation=expectation.relation,
        expected=expectation.expected,
        found=found.count,
        formula=f"{found.formula} = {found.numbers}" if found.formula else "",
        holds=expectation.relation.holds(found.count, expectation.expected),
        line=expectation.line,
        unit=_UNITS[measure] if isinstance(measure, StepMeasure) else "",
        derivation=derivation(found.numbers, found.count),
        place=expectation.place,
    )
