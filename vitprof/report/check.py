"""Report of the outcomes of check files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from vitprof.expectations.expectations import Outcome
from vitprof.expectations.update import changeable
from vitprof.report.base import Report
from vitprof.report.document import (
    EVERY,
    Column,
    Document,
    Element,
    Heading,
    Kind,
    Records,
    Row,
    Sentence,
    Table,
)
from vitprof.values.amounts import Bytes, Signed

_COLUMNS = (
    Column("expectation", part=EVERY, key=True),
    Column(""),
    Column("expected", Kind.NUMBER),
    Column("found", Kind.NUMBER),
    Column(""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """Outcomes of one model.

    Attributes:
        file: name of the file.
        name: name of the model in the file.
        line: line of the file at which its table begins.
        outcomes: one per expectation: parameters, MACs, memory, each with its bound last, and the
            batch.
    """

    file: str
    name: str
    line: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True)
class Check(Report):
    """Outcomes of check files.

    Attributes:
        cases: one per model, in the order of the files.
        listed: True if the document lists all outcomes, not only failures.
    """

    command = "check"
    cases: tuple[CaseResult, ...]
    listed: bool = True

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files."""
        return tuple(dict.fromkeys(case.file for case in self.cases))

    def title(self, case: CaseResult) -> str:
        """Return the name of a model, with that of its file if there are several."""
        return f"{case.file}: {case.name}" if len(self.files) > 1 else case.name

    @property
    def outcomes(self) -> list[tuple[CaseResult, Outcome]]:
        """Every outcome, with its case."""
        return [(case, outcome) for case in self.cases for outcome in case.outcomes]

    @property
    def failures(self) -> list[tuple[CaseResult, Outcome]]:
        """Outcomes that do not hold, each with its case."""
        return [(case, outcome) for case, outcome in self.outcomes if not outcome.holds]

    @property
    def complaint(self) -> str:
        return self.summary if self.failures else ""

    @property
    def summary(self) -> str:
        """Sentence on the number of expectations that hold."""
        number, failed = len(self.outcomes), len(self.failures)
        places = f" in {len(self.files)} files" if len(self.files) > 1 else ""
        return f"{number - failed} of {number} expectations hold{places}" + (
            f", {failed} do not" if failed else ""
        )

    def updated(self) -> Check:
        """Return a copy whose exact counts are those found, as in a file that is updated."""
        return replace(
            self,
            cases=tuple(
                replace(
                    case,
                    outcomes=tuple(
                        replace(one, expected=one.found, holds=True) if changeable(one) else one
                        for one in case.outcomes
                    ),
                )
                for case in self.cases
            ),
        )

    def only_failures(self) -> Check:
        """Return a copy whose document lists only failures."""
        return replace(self, listed=False)

    def document(self) -> Document:
        failures = (
            Sentence(f"{case.file}:{outcome.line or case.line}: {describe(outcome)}", alarm=True)
            for case, outcome in self.failures
        )
        tables = self._tables() if self.listed else ()
        return (*tables, *failures, Sentence(self.summary, strong=True))

    def _tables(self) -> Iterator[Element]:
        for case in self.cases:
            yield Heading(self.title(case))
            rows = (
                Row(
                    (
                        outcome.what,
                        outcome.relation,
                        outcome.expected,
                        outcome.found,
                        "ok" if outcome.holds else "FAILS",
                    ),
                    alarm=not outcome.holds,
                )
                for outcome in case.outcomes
            )
            yield Table(_COLUMNS, tuple(rows))

    def records(self) -> Records:
        columns = ("file", "case", "line", "what", "relation", "expected", "found", "difference")
        return Records(
            (*columns, "unit", "holds"),
            tuple(
                (
                    *(case.file, case.name, outcome.line or case.line),
                    *(outcome.what, outcome.relation, outcome.expected, outcome.found),
                    *(outcome.difference, outcome.unit, outcome.holds),
                )
                for case, outcome in self.outcomes
            ),
        )

    def data(self) -> dict[str, object]:
        return {
            "files": list(self.files),
            "holds": not self.failures,
            "cases": [
                {
                    "file": case.file,
                    "name": case.name,
                    "line": case.line,
                    "outcomes": [
                        {**asdict(outcome), "difference": outcome.difference}
                        for outcome in case.outcomes
                    ],
                }
                for case in self.cases
            ],
        }


def describe(outcome: Outcome) -> str:
    """Return a failure as a sentence: expected, found, difference and formula of the row.

    Memory that is over a bound is rounded, but for the difference.
    """
    relation = "" if outcome.relation == "=" else f"{outcome.relation} "
    unit = f" {outcome.unit}" if outcome.unit else ""
    rounds = bool(relation) and outcome.unit == "bytes"
    expected, found = (
        str(Bytes(value)) if rounds and isinstance(value, int) else f"{_shown(value)}{unit}"
        for value in (outcome.expected, outcome.found)
    )
    words = f"{outcome.what}: expected {relation}{expected}, found {found}"
    if outcome.difference is not None:
        words += f" ({Signed(outcome.difference)}{unit if rounds else ''})"
    return f"{words}; {outcome.formula}" if outcome.formula else words


def _shown(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"
