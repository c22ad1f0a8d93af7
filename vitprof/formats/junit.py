"""A check as JUnit XML, and as the workflow commands of GitHub."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from vitprof.report.check import Check, describe

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(check: Check) -> str:
    """The outcomes: a test suite a model, a test case an expectation."""
    root = ElementTree.Element(
        "testsuites", tests=str(len(check.outcomes)), failures=str(len(check.failures))
    )
    for case in check.cases:
        name = _printable(case.name)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=name,
            tests=str(len(case.outcomes)),
            failures=str(sum(not outcome.holds for outcome in case.outcomes)),
        )
        for outcome in case.outcomes:
            test = ElementTree.SubElement(
                suite,
                "testcase",
                classname=name,
                name=outcome.what,
                file=_printable(check.file),
                line=str(outcome.line or case.line),
            )
            if not outcome.holds:
                ElementTree.SubElement(test, "failure", message=_printable(describe(outcome)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def workflow_commands(check: Check) -> list[str]:
    """The failures as GitHub's workflow commands, which mark lines of the file."""
    file = _escape(check.file, inside_property=True)
    return [
        f"::error file={file},line={outcome.line or case.line},"
        f"title={_escape(case.name, inside_property=True)}::{_escape(describe(outcome))}"
        for case, outcome in check.failures
    ]


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
