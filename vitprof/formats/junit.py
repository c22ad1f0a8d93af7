"""Write a check as JUnit XML and as workflow commands of GitHub Actions."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from vitprof.report.check import Check, describe

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(check: Check) -> str:
    """Return JUnit XML with a test suite per model and a test case per expectation."""
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
    """Return the failures as workflow commands, which annotate lines of the file."""
    file = _escape(check.file, inside_property=True)
    return [
        f"::error file={file},line={outcome.line or case.line},"
        f"title={_escape(case.name, inside_property=True)}::{_escape(describe(outcome))}"
        for case, outcome in check.failures
    ]


def _escape(text: str, *, inside_property: bool = False) -> str:
    """Escape the text of a workflow command by GitHub's rules."""
    codes = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A")]
    if inside_property:
        codes += [(":", "%3A"), (",", "%2C")]
    for sign, code in codes:
        text = text.replace(sign, code)
    return text


def _printable(text: str) -> str:
    """Replace the characters that XML cannot hold."""
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
