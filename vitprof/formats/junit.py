"""Write a check as JUnit XML and as workflow commands of GitHub Actions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree

from vitprof.expectations.expectations import Outcome, Relation
from vitprof.report.check import Check, describe
from vitprof.text import visible


def render_junit(check: Check) -> str:
    """Return JUnit XML with a test suite per model and a test case per expectation.

    No two suites have the same name, and no two cases of one.
    """
    root = ElementTree.Element(
        "testsuites", tests=str(len(check.outcomes)), failures=str(len(check.failures))
    )
    names = _distinct([(check.title(case), case.line) for case in check.cases])
    for case, name in zip(check.cases, names, strict=True):
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=name,
            file=visible(case.file),
            tests=str(len(case.outcomes)),
            failures=str(sum(not outcome.holds for outcome in case.outcomes)),
        )
        whats = _distinct([(_what(one), one.line or case.line) for one in case.outcomes])
        for outcome, what in zip(case.outcomes, whats, strict=True):
            test = ElementTree.SubElement(
                suite,
                "testcase",
                classname=name,
                name=what,
                file=visible(case.file),
                line=str(outcome.line or case.line),
            )
            if not outcome.holds:
                ElementTree.SubElement(test, "failure", message=visible(describe(outcome)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def workflow_commands(check: Check) -> list[str]:
    """Return the failures as workflow commands, which annotate lines of the file."""
    return [
        f"::error file={_escape(case.file, inside_property=True)},"
        f"line={outcome.line or case.line},"
        f"title={_escape(case.name, inside_property=True)}::{_escape(describe(outcome))}"
        for case, outcome in check.failures
    ]


def _escape(text: str, *, inside_property: bool = False) -> str:
    """Escape the text of a workflow command by GitHub's rules."""
    codes = [("%", "%25")]
    if inside_property:
        codes += [(":", "%3A"), (",", "%2C")]
    text = visible(text)
    for sign, code in codes:
        text = text.replace(sign, code)
    return text


def _what(outcome: Outcome) -> str:
    """Return the name of an expectation; a bound's is not that of an exact count."""
    return outcome.what if outcome.relation == Relation.EQUAL else f"{outcome.what}, budget"


def _distinct(names: Sequence[tuple[str, int]]) -> list[str]:
    """Return the names; one that comes again has the line of its place in the file."""
    shown = [visible(name) for name, _ in names]
    times = Counter(shown)
    lines = (line for _, line in names)
    return [
        f"{name}, line {line}" if times[name] > 1 else name
        for name, line in zip(shown, lines, strict=True)
    ]
