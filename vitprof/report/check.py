"""The outcome of a check file, as plain data and in each format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from vitprof.checks.expectations import Outcome
from vitprof.report.to_json import SCHEMA
from vitprof.report.verdict import signed

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One model's outcomes.

    Attributes:
        name: what the file calls the model.
        line: where its table begins in the file.
        outcomes: one an expectation, in the file's order.
    """

    name: str
    line: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """All outcomes of a file.

    Attributes:
        file: the file.
        cases: one a model.
        listed: whether a table lists what holds, too.
    """

    file: str
    cases: tuple[CaseResult, ...]
    listed: bool = True

    @property
    def failures(self) -> list[tuple[CaseResult, Outcome]]:
        """What does not hold."""
        return [(case, outcome) for case, outcome in self._all() if not outcome.holds]

    @property
    def summary(self) -> str:
        """How many hold, in a sentence."""
        number = sum(1 for _ in self._all())
        failed = len(self.failures)
        return f"{number - failed} of {number} expectations hold" + (
            f", {failed} do not" if failed else ""
        )

    def to_json(self) -> str:
        """The outcomes for other programs."""
        document = {
            "schema": SCHEMA,
            "command": "check",
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
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def to_junit(self) -> str:
        """The outcomes as JUnit XML: a test suite a model, a test case an expectation."""
        root = ElementTree.Element(
            "testsuites", tests=str(len(list(self._all()))), failures=str(len(self.failures))
        )
        for case in self.cases:
            failed = sum(not outcome.holds for outcome in case.outcomes)
            suite = ElementTree.SubElement(
                root,
                "testsuite",
                name=_printable(case.name),
                tests=str(len(case.outcomes)),
                failures=str(failed),
            )
            for outcome in case.outcomes:
                test = ElementTree.SubElement(
                    suite,
                    "testcase",
                    classname=_printable(case.name),
                    name=outcome.what,
                    file=self.file,
                    line=str(outcome.line or case.line),
                )
                if not outcome.holds:
                    ElementTree.SubElement(test, "failure", message=_printable(describe(outcome)))
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"

    def annotations(self) -> list[str]:
        """The failures as GitHub's workflow commands, which mark lines of the file."""
        file = _escape(self.file, inside_property=True)
        return [
            f"::error file={file},line={outcome.line or case.line},"
            f"title={_escape(case.name, inside_property=True)}::{_escape(describe(outcome))}"
            for case, outcome in self.failures
        ]

    def only_failures(self) -> Check:
        """The same with none of what holds listed."""
        return replace(self, listed=False)

    def _all(self) -> Iterator[tuple[CaseResult, Outcome]]:
        return ((case, outcome) for case in self.cases for outcome in case.outcomes)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from vitprof.report.check_to_table import check_to_table

        yield from check_to_table(self)


def describe(outcome: Outcome) -> str:
    """A failure in a sentence: expected, found, difference and the row's formula."""
    relation = "" if outcome.relation == "=" else f"{outcome.relation} "
    words = f"{outcome.what}: expected {relation}{show(outcome.expected)}"
    words += f", found {show(outcome.found)}"
    if outcome.difference is not None:
        words += f" ({signed(outcome.difference)})"
    return f"{words}; {outcome.formula}" if outcome.formula else words


def show(value: int | str) -> str:
    """A count with separators, or words as they are."""
    return value if isinstance(value, str) else f"{value:,}"


def _escape(text: str, *, inside_property: bool = False) -> str:
    """Escape a workflow command's text as GitHub asks."""
    codes = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A")]
    if inside_property:
        codes += [(":", "%3A"), (",", "%2C")]
    for sign, code in codes:
        text = text.replace(sign, code)
    return text


def _printable(text: str) -> str:
    """The text without the characters that XML cannot hold."""
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
