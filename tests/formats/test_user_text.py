"""Text of users and of foreign code in every format: it is text, and it is visible."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from io import StringIO
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendered import unmarked
from rich.console import Console

from vitprof.errors import SpecError
from vitprof.expectations.expectations import Outcome
from vitprof.formats import Format, plain, render
from vitprof.report.base import Report
from vitprof.report.check import CaseResult, Check
from vitprof.report.document import Document, Element, Equations, Facts, Records
from vitprof.text import quoted, sentence, shown, visible

# What a terminal acts upon, what reverses or hides text, markup of all languages, and the rest.
SPECIAL = (
    *("\x1b[31m", "\x07", "\x9b", "\x00", "\x7f", "\r", "\n", "\t", "\u202e", "\u2066", "\u200b"),
    *("\ufeff", "\u2028", "\xa0", "\ud800", "\udcff", "\U000e0041", "[/]", "[red]", "[link=x]"),
    *("<b>", "&amp;", "&", "*", "**", "_", "`", "```", "|", "~~", "$", "\\", "{", "}", "%", "^"),
    *("#", "# ", "- ", "> ", "1. ", "=", "+", "-", "@", '"', "'", ",", "]]>", r"\end{verbatim}"),
)
WORDS = st.lists(
    st.sampled_from(SPECIAL) | st.text(st.characters(), max_size=3) | st.just("a"), max_size=6
).map("".join)
few = settings(max_examples=75, deadline=None, derandomize=True, database=None)


def outcome(what: str, relation: str = "=", line: int = 1) -> Outcome:
    return Outcome(
        what=what, relation=relation, expected=-1, found="-", formula="", holds=False, line=line
    )


def check_of(*names: str) -> Check:
    cases = (
        CaseResult(
            file=f"{names[0]}.toml",
            name=name,
            line=9 * n,
            outcomes=(outcome(name, line=9 * n), outcome("params x")),
        )
        for n, name in enumerate(names)
    )
    return Check(cases=tuple(cases))


@few
@given(WORDS)
def test_every_format_shows_text_as_text(name: str) -> None:
    report, seen = check_of(name), visible(name)
    texts = {one: render(report, one) for one in Format if one is not Format.PARQUET}
    for text in texts.values():
        assert isinstance(text, str)
        assert text.replace("\n", "").isprintable()
        text.encode()
    assert json.loads(texts[Format.JSON])["cases"][0]["name"] == name
    page = ElementTree.fromstring(texts[Format.HTML])
    assert "".join(page.find("p").itertext()) == seen  # type: ignore[union-attr]
    suite = ElementTree.fromstring(texts[Format.JUNIT]).find("testsuite")
    assert suite is not None
    assert suite.get("name") == seen
    table = [line.rstrip() for line in str(texts[Format.TABLE]).splitlines()]
    assert "".join(seen.split()) in "".join("".join(table).split())
    strong = str(texts[Format.MARKDOWN]).split("\n")[0]
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", strong) == f"**{seen}**"


@few
@given(WORDS)
def test_a_cell_of_csv_is_no_formula(name: str) -> None:
    _, *rows = csv.reader(StringIO(check_of(name).to_csv()), strict=True)
    for row in rows:
        for cell, text in zip(row, (f"{visible(name)}.toml", visible(name)), strict=False):
            assert not re.match("[=+@\t\r-].", cell)
            assert cell.removeprefix("'") in (text, text.removeprefix("'"))
        assert row[5] == "-1"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        ("@x", "'@x"),
        ("\t=1", r"\t=1"),
        ("\r=1", r"\r=1"),
        ("-1", "-1"),
        ("+1.5e-3", "+1.5e-3"),
        ("-1+1", "'-1+1"),
        ("=", "="),
        (-1, "-1"),
        (-0.5, "-0.5"),
    ],
)
def test_cells_of_csv(cell: str | float, written: str) -> None:
    assert Example(cell=cell).to_csv() == f"cell\n{written}\n"


class Example(Report):
    """A report of one element, or of one cell."""

    command = "example"

    def __init__(self, element: Element | None = None, cell: str | float = "") -> None:
        self.element, self.cell = element, cell

    def document(self) -> Document:
        return () if self.element is None else (self.element,)

    def records(self) -> Records:
        return Records(("cell",), ((self.cell,),))

    def data(self) -> dict[str, object]:
        return {}


def test_equations_of_others_end_no_block() -> None:
    report = Example(Equations("a\n```\n# b\n\\end{verbatim}\n\x1b"))
    assert report.to_markdown() == "````text\na\n```\n# b\n\\end{verbatim}\n\\x1b\n````\n"
    assert report.to_latex().count(r"\end{verbatim}") == 1
    assert report.text() == "a ``` # b \\end{verbatim} \\x1b"


@few
@given(st.lists(WORDS | st.sampled_from(["a", "b"]), min_size=1, max_size=4))
def test_names_of_junit_are_distinct(names: list[str]) -> None:
    root = ElementTree.fromstring(check_of(*names).render("junit"))
    tests = [(test.get("classname"), test.get("name")) for test in root.iter("testcase")]
    assert max(Counter(tests).values()) == 1
    assert len(tests) == 2 * len(names)


def test_a_budget_has_a_name_of_its_own() -> None:
    outcomes = (outcome("params all"), outcome("params all", "<="))
    case = CaseResult(file="x.toml", name="a", line=1, outcomes=outcomes)
    check = Check(cases=(case,))
    tests = ElementTree.fromstring(check.render("junit")).iter("testcase")
    assert [test.get("name") for test in tests] == ["params all", "params all, budget"]


@few
@given(WORDS)
def test_a_terminal_shows_text_as_text(name: str) -> None:
    """With colours: what remains beside the styles of rich is visible."""
    console = Console(file=StringIO(), force_terminal=True, width=200, color_system="standard")
    console.print(check_of(name))
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.sub(r"\x1b\[[0-9;]*m|\n", "", written).isprintable()


def test_names_as_wide_as_two_characters_fit() -> None:
    """Chinese names take two columns each: the table is no narrower than they are."""
    table = check_of("字" * 30).render("table")
    assert "字" * 30 + "  " in table


def test_text_of_sentences() -> None:
    assert visible("a b\x1b\u202e\ud800é字") == "a b\\x1b\\u202e\\ud800é字"
    assert (shown(10**5000), quoted(10**5000)) == (
        "of thousands of digits",
        "a value too long to show",
    )
    assert shown("") == quoted("") == "''"
    assert quoted("x" * 100) == f"'{'x' * 77}...'"
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert quoted(deep) == "a value too long to show"
    assert sentence(" two\n\n lines\t") == "two lines"
    assert str(SpecError(f"dim {'x ' * 10_000}; give less")).endswith("x ; give less")
    assert len(str(SpecError("x" * 10_000))) == 1_000


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("# a", r"\# a"),
        ("- a", r"\- a"),
        ("+ a", r"\+ a"),
        ("> a", r"\> a"),
        ("1. a", r"1\. a"),
        ("2) a", r"2\) a"),
        ("&amp; a", r"\&amp; a"),
        ("~~a~~", r"\~\~a\~\~"),
        ("$a$", r"\$a\$"),
        ("a ~ b & c", "a ~ b & c"),
    ],
)
def test_markdown_of_signs(words: str, written: str) -> None:
    first = check_of(words).to_markdown().split("\n\n")[-2]
    assert first.startswith(f"{written}.toml")
    assert unmarked(first).startswith(f"{words}.toml")


def test_facts_of_a_narrow_terminal_cut_no_figure() -> None:
    """The text stands below a name that leaves it no room."""
    facts = Example(Facts({"a name of some length": "16,640,000 bytes"}))
    assert plain(facts, 30) == "a name of some length\n  16,640,000 bytes\n"
