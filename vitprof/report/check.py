"""Report of the outcomes of a check file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from vitprof.expectations.expectations import Outcome
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
from vitprof.values.amounts import Signed

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
        name: name of the model in the file.
        line: line of the file at which its table begins.
        outcomes: one per expectation: parameters, then MACs, each with its budget last.
    """

    name: str
    line: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True)
class Check(Report):
    """Outcomes of a check file.

    Attributes:
        file: name of the file.
        cases: one per model.
        listed: True if the document lists all outcomes, not only failures.
    """

    command = "check"
    file: str
    cases: tuple[CaseResult, ...]
    listed: bool = True

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
        return f"{number - failed} of {number} expectations hold" + (
            f", {failed} do not" if failed else ""
        )

    def only_failures(self) -> Check:
        """Return a copy whose document lists only failures."""
        return replace(self, listed=False)

    def document(self) -> Document:
        failures = (
            Sentence(f"{self.file}:{outcome.line or case.line}: {describe(outcome)}", alarm=True)
            for case, outcome in self.failures
        )
        tables = self._tables() if self.listed else ()
        return (*tables, *failures, Sentence(self.summary, strong=True))

    def _tables(self) -> Iterator[Element]:
        for case in self.cases:
            yield Heading(case.name)
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
        columns = ("case", "line", "what", "relation", "expected", "found", "difference", "holds")
        return Records(
            columns,
            tuple(
                (
                    *(case.name, outcome.line or case.line, outcome.what, outcome.relation),
                    *(outcome.expected, outcome.found, outcome.difference, outcome.holds),
                )
                for case, outcome in self.outcomes
            ),
        )

    def data(self) -> dict[str, object]:
        return {
            "file": self.file,
            "holds": not self.failures,
            "cases": [
                {
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
    """Return a failure as a sentence: expected, found, difference and formula of the row."""
    relation = "" if outcome.relation == "=" else f"{outcome.relation} "
    words = f"{outcome.what}: expected {relation}{_shown(outcome.expected)}"
    words += f", found {_shown(outcome.found)}"
    if outcome.difference is not None:
        words += f" ({Signed(outcome.difference)})"
    return f"{words}; {outcome.formula}" if outcome.formula else words


def _shown(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"
