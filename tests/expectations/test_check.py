"""`vitprof check`: expectations that hold or fail, messages, and invalid files."""

from __future__ import annotations

import ast
import csv
import importlib.metadata
import json
import re
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from spellings import SOME, Spelling

import vitprof
from vitprof.cli import run
from vitprof.counters import TOOLS
from vitprof.counters.reading import Reading
from vitprof.errors import SpecError
from vitprof.expectations.expectations import Expectation, Relation, expect
from vitprof.expectations.file import Case, read_cases
from vitprof.values.arithmetic import derive

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
Write = Callable[[str], Path]

REPORT = Path(__file__).parents[2] / "examples" / "report.toml"
CASES = read_cases(REPORT)

# One encoder layer: 7 tokens, width 15, 3 heads of 5, MLP 60.
LAYER = '[[expect]]\nspec = { model = "layer", tokens = 7, dim = 15, heads = 3 }\n'


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Run on one thread: at small sizes more threads only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def nowhere_in_particular(monkeypatch: Patch) -> None:
    """Do not wrap lines, and print no annotations when the tests run on GitHub."""
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a check file."""

    def write(text: str) -> Path:
        file = tmp_path / "check.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def checked(capsys: Capture, *words: str | Path) -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr of `vitprof check`."""
    code = run(["check", *map(str, words)])
    return code, *capsys.readouterr()


def refused(capsys: Capture, *words: str | Path) -> str:
    """Return the error sentence of `vitprof check`."""
    code, out, err = checked(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("vitprof: ")
    assert len(err.splitlines()) == 1
    return err


# The counts of the two reports.


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reports_counts_hold(case: Case) -> None:
    assert [outcome for outcome in case.evaluate() if not outcome.holds] == []
    assert case.expectations


def test_the_reports_models_are_reconciled_at_one_size_at_least() -> None:
    kinds = {(case.spec.name, case.spec.mixer) for case in CASES}
    assert {(case.spec.name, case.spec.mixer) for case in CASES if case.reconciled} == kinds


def test_the_reports_counts_are_all_there() -> None:
    expected = {expectation.expected for case in CASES for expectation in case.expectations}
    masked_autoencoder = {
        *(27_706_816, 4_048_384, 20_038_848, 3_172_224),
        *(8_320, 256, 66_048, 22_240, 131_712, 1_024, 1_050_624, 157_840, 2_099_712, 32_832),
        *(20_640, 256, 32, 1_312, 155_952, 512, 64, 1_312),
    }
    lambda_macs = {  # of n tokens: 1024 / 4 kept patches of width 128, all 1024 of width 512
        count
        for n, D, h, v in ((257, 128, 8, 16), (1025, 512, 16, 32))
        for count in (n * D * (h * 16 + 16 + v), 16 * n * v, n * h * 16 * v, n * v * 16 * 81)
    }
    classifier = {
        *(49_984, 128, 12_480, 4_160, 16_640, 16_448),
        *(277_760_000, 61_440_000, 16_000_000, 20_480_000, 81_920_000),
    }
    assert masked_autoencoder | lambda_macs | classifier <= expected


def slips(expectation: Expectation) -> list[Expectation]:
    """Yield the expectation with each of its digits replaced in turn."""
    wrong = []
    for place, sign in enumerate(expectation.derivation):
        if sign.isdigit():
            other = str(int(sign) % 9 + 1)
            text = expectation.derivation[:place] + other + expectation.derivation[place + 1 :]
            wrong.append(expect(expectation.measure, expectation.key, text, expectation.relation))
    return wrong


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_digit_of_the_reports_counts_matters(case: Case) -> None:
    exact = [it for it in case.expectations if it.relation is Relation.EQUAL]
    wrong = [slip for expectation in exact for slip in slips(expectation)]
    assert len(wrong) > len(exact)
    outcomes = replace(case, expectations=tuple(wrong)).evaluate()
    assert [slip for slip, it in zip(wrong, outcomes, strict=True) if it.holds] == []


def budgets() -> list[tuple[Case, Expectation]]:
    return [
        (case, budget)
        for case in CASES
        for budget in case.expectations
        if budget.relation is Relation.AT_MOST
    ]


def test_a_budget_holds_up_to_what_is_there() -> None:
    assert len(budgets()) == 2
    for case, budget in budgets():
        (found,) = (it.found for it in replace(case, expectations=(budget,)).evaluate())
        assert isinstance(found, int)
        assert found <= budget.expected
        for most, holds in ((found + 1, True), (found, True), (found - 1, False)):
            given = replace(case, expectations=(replace(budget, expected=most),))
            assert [outcome.holds for outcome in given.evaluate()] == [holds]


def report_without_tools() -> str:
    return REPORT.read_text(encoding="utf-8").replace("reconciled = true", "reconciled = false")


def test_the_reports_file_is_green(capsys: Capture, write: Write) -> None:
    number = sum(len(case.expectations) for case in CASES)
    code, out, err = checked(capsys, write(report_without_tools()))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"{number} of {number} expectations hold"


@pytest.mark.parametrize(
    ("right", "wrong", "failing", "sentence"),
    [
        (
            "layers = 27_706_816",
            "layers = 27_706_817",
            "layers = 27_706_816",
            "params layers: expected 27,706,817, found 27,706,816 (−1)",
        ),
        (
            "16*81 + 16",
            "16*80 + 16",
            "16*81 + 16",
            "params blocks.0.mixer.position_lambdas: expected 1,296, found 1,312 (+16); ",
        ),
        (
            "4*50*(16*50)",
            "4*50*(17*50)",
            "4*50*(16*50)",
            "macs mixer.scores: expected 17,000,000, found 16,000,000 (−1,000,000); ",
        ),
        (
            "max_macs = 277_760_000",
            "max_macs = 277_759_999",
            "max_macs = 277_760_000",
            "macs macs: expected <= 277,759,999, found 277,760,000 (+1)",
        ),
        (
            "patch_size = 16",
            "patch_size = 8",
            "layers = 4_048_384",
            # 16² − 8² = 192 pixels less into the encoder's 128, and less out of the decoder's
            f"params layers: expected 4,048,384, found {4_048_384 - 192 * 128 - 129 * 192:,} ",
        ),
    ],
)
def test_the_reports_file_is_red_when_a_digit_changes(
    capsys: Capture, write: Write, right: str, wrong: str, failing: str, sentence: str
) -> None:
    text = report_without_tools()
    assert right in text
    line = text[: text.index(failing)].count("\n") + 1
    file = write(text.replace(right, wrong, 1))
    code, out, err = checked(capsys, file)
    assert (code, err) == (1, "")
    said = [row for row in out.splitlines() if row.startswith(f"{file}:")]
    assert [row for row in said if row.startswith(f"{file}:{line}: {sentence}")]


# Derivations.


def by_python(expression: ast.expr) -> int:
    value = eval(ast.unparse(expression))
    assert isinstance(value, int)
    return value


def is_a_count(expression: ast.expr) -> bool:
    return abs(by_python(expression)) < 10**30


def joined(inner: st.SearchStrategy[ast.expr]) -> st.SearchStrategy[ast.expr]:
    signs = st.sampled_from([ast.Add(), ast.Sub(), ast.Mult()])
    some, few = (st.integers(low, high).map(ast.Constant) for low, high in ((1, 99), (0, 4)))
    # Each step is kept small before the next is taken: a power of a power of a power is endless.
    return st.one_of(
        st.builds(ast.BinOp, inner, signs, inner),
        st.builds(ast.BinOp, inner, st.just(ast.FloorDiv()), some),
        st.builds(ast.BinOp, inner, st.just(ast.Pow()), few),
        st.builds(ast.UnaryOp, st.just(ast.USub()), inner),
    ).filter(is_a_count)


expressions = st.recursive(st.integers(0, 999).map(ast.Constant), joined, max_leaves=12)


@settings(deadline=None)
@given(expression=expressions)
def test_a_derivation_is_pythons_arithmetic(expression: ast.expr) -> None:
    text = ast.unparse(expression)
    assert derive(text) == derive(text.replace("*", "×")) == by_python(expression)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("128*512 + 512", 128 * 512 + 512),
        ("  2 + 3*4 ", 14),
        ("(2 + 3)*4", 20),
        ("7 - 2 - 1", 4),
        ("100 // 7 // 2", 7),
        ("-7 // 2", -4),
        ("2**3**2", 512),
        ("-2**2", -4),
        ("2**99", 2**99),
        ("1**100", 1),
        ("12 × (256 + 66_048)", 12 * 66_304),
        (22_240, 22_240),
        (0, 0),
    ],
)
def test_derivations(text: object, value: int) -> None:
    assert derive(text) == value


NO_DERIVATIONS: list[object] = [
    "",
    " ",
    "x",
    "two",
    "__import__('os')",
    "().__class__",
    "[1][0]",
    "len('a')",
    "lambda: 1",
    "1 if 1 else 2",
    "(x := 3)",
    "f'{1}'",
    "'1'",
    "True",
    "None",
    "1e3",
    "1.0",
    "1j",
    "1/2",
    "7 % 2",
    "1 << 3",
    "1 | 2",
    "~1",
    "not 1",
    "1 < 2",
    "1 and 2",
    "1and 2",
    "1 is 1",
    "1 1",
    "1,2",
    "1; 2",
    "1\n2",
    "1 +",
    "(1",
    "0777",
    "\0",
    "'\\d'",
    "1//0",
    "2**-1",
    "1**101",
    "2**100",
    "2**10**10",
    "9**99",
    "10**30 + 1",
    "10**30 * 10**30 // 10**30",
    "9" * 5000,
    "(" * 5000 + "1" + ")" * 5000,
    "-" * 50_000 + "1",
    "1" + "+1" * 50_000,
    1.0,
    1.5,
    True,
    False,
    None,
    [1],
    {"a": 1},
    b"1",
    16**5000,
]


@pytest.mark.parametrize("value", NO_DERIVATIONS, ids=range(len(NO_DERIVATIONS)))
def test_what_is_no_derivation(value: object) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with pytest.raises(SpecError, match="whole number"):
            derive(value)
    assert heard == []


# Output of a run.


FAILING = f"""\
# norm1 is named here, and params too

{LAYER}name = "a # norm1"
max_params = 9_999
max_macs = "10**9"

[expect.macs] # before the parameters
"mixer.qkv" = "7*15*46" # not 45
macs = 999

[expect.params]
"mlp.fc2" = "60*15 + 15"
norm1 = 31

{LAYER}
[expect.params]
norm1 = 32
"""
PARAMS = 16 * 45 + 16 * 15 + 16 * 60 + 61 * 15 + 2 * 2 * 15
MACS = 7 * 15 * 45 + 2 * 3 * 7 * 7 * 5 + 7 * 15 * 15 + 2 * 7 * 15 * 60
FAILURES = [
    (10, "macs mixer.qkv: expected 4,830, found 4,725 (−105); B × N × in × out = 1 × 7 × 15 × 45"),
    (11, f"macs macs: expected 999, found {MACS:,} (+{MACS - 999:,})"),
    (15, "params norm1: expected 31, found 30 (−1); 2 × D = 2 × 15"),
    (21, "params norm1: expected 32, found 30 (−2); 2 × D = 2 × 15"),
]
HOLDING = [f"params all <= 9,999 {PARAMS:,} ok", "params mlp.fc2 = 915 915 ok"]
HOLDING += [f"macs macs <= 1,000,000,000 {MACS:,} ok"]
SUMMARY = "3 of 7 expectations hold, 4 do not"
SAID = f"vitprof: {SUMMARY}\n"  # on stderr, where what is printed is for a program, or a file


def test_a_failure_has_its_line_what_was_found_and_the_formula(
    capsys: Capture, write: Write
) -> None:
    file = write(FAILING)
    code, out, err = checked(capsys, file)
    assert (code, err) == (1, "")
    said = [line for line in out.splitlines() if line.startswith(f"{file}:")]
    assert sorted(said) == sorted(f"{file}:{line}: {words}" for line, words in FAILURES)
    assert out.splitlines()[-1] == SUMMARY
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert [row for row in HOLDING if row not in rows] == []
    assert len([row for row in rows if row.endswith("FAILS")]) == len(FAILURES)
    assert "params norm1 = 31 30 FAILS" in rows


def test_json(capsys: Capture, write: Write) -> None:
    file = write(FAILING)
    code, out, err = checked(capsys, file, "--format=json")
    assert (code, err) == (1, SAID)
    document = json.loads(out)
    first, second = document.pop("cases")
    assert document == {
        "schema": "vitprof/2",
        "command": "check",
        "file": str(file),
        "holds": False,
    }
    assert (first["name"], first["line"]) == ("a # norm1", 3)
    assert len(first["outcomes"]) == 6
    assert {
        "what": "params norm1",
        "relation": "=",
        "expected": 31,
        "found": 30,
        "formula": "2 × D = 2 × 15",
        "holds": False,
        "line": 15,
        "difference": -1,
    } in first["outcomes"]
    assert {
        "what": "params all",
        "relation": "<=",
        "expected": 9_999,
        "found": PARAMS,
        "formula": "",
        "holds": True,
        "line": 6,
        "difference": PARAMS - 9_999,
    } in first["outcomes"]
    assert (second["name"], second["line"]) == ("layer with attn", 17)
    assert [outcome["line"] for outcome in second["outcomes"]] == [21]


def test_json_of_what_holds(capsys: Capture, write: Write) -> None:
    code, out, err = checked(
        capsys, write(f"{LAYER}[expect.params]\nnorm1 = 30\n"), "--format=json"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["holds"] is True


def test_junit(capsys: Capture, write: Write) -> None:
    file = write(FAILING)
    code, out, err = checked(capsys, file, "--format=junit")
    assert (code, err) == (1, SAID)
    suites = ElementTree.fromstring(out)
    assert (suites.tag, suites.attrib) == ("testsuites", {"tests": "7", "failures": "4"})
    assert [suite.attrib for suite in suites] == [
        {"name": "a # norm1", "tests": "6", "failures": "3"},
        {"name": "layer with attn", "tests": "1", "failures": "1"},
    ]
    tests = suites.findall("./testsuite/testcase")
    assert {test.get("file") for test in tests} == {str(file)}
    assert [test.get("classname") for test in tests] == ["a # norm1"] * 6 + ["layer with attn"]
    failed = [
        (int(test.get("line", "0")), failure.get("message", ""))
        for test in tests
        for failure in test.findall("failure")
    ]
    assert sorted(failed) == FAILURES
    assert len(tests) - len(failed) == 3


@pytest.mark.parametrize(
    "name", ["<a> & \"b\" 'c'", "bell \\u0007", "two\\nlines", "nothing \\u0000"]
)
def test_junit_can_be_read_whatever_a_model_is_called(
    capsys: Capture, write: Write, name: str
) -> None:
    text = name.replace('"', '\\"')
    file = write(f'{LAYER}name = "{text}"\nmax_macs = 1\n')
    code, out, _ = checked(capsys, file, "--format=junit")
    assert code == 1
    assert ElementTree.fromstring(out).get("failures") == "1"


def test_junit_of_a_file_with_a_name_that_xml_cannot_hold(capsys: Capture, write: Write) -> None:
    file = write(f"{LAYER}max_macs = 1\n")
    file = file.rename(file.with_name("a\x01b.toml"))
    code, out, _ = checked(capsys, file, "--format=junit")
    assert code == 1
    (test,) = ElementTree.fromstring(out).iter("testcase")
    assert test.get("file") == str(file.with_name("a\ufffdb.toml"))


# Line, what, relation, expected, found, and if it holds; parameters before MACs, budgets last.
OUTCOMES = [
    (14, "params mlp.fc2", "=", 915, 915, True),
    (15, "params norm1", "=", 31, 30, False),
    (6, "params all", "<=", 9_999, PARAMS, True),
    (10, "macs mixer.qkv", "=", 4_830, 4_725, False),
    (11, "macs macs", "=", 999, MACS, False),
    (7, "macs macs", "<=", 10**9, MACS, True),
    (21, "params norm1", "=", 32, 30, False),
]
ROWS = sorted(
    [what, relation, f"{expected:,}", f"{found:,}", "ok" if holds else "FAILS"]
    for _, what, relation, expected, found, holds in OUTCOMES
)
SENTENCES = sorted(f":{line}: {words}" for line, words in FAILURES)


def test_markdown(capsys: Capture, write: Write) -> None:
    file = write(FAILING)
    code, out, err = checked(capsys, file, "--format=markdown")
    assert (code, err) == (1, "")
    paragraphs = out.rstrip("\n").replace("\\<", "<").split("\n\n")
    headings = ("**a # norm1**", "**layer with attn**")
    assert tuple(line for line in paragraphs if line.startswith("**")) == (
        *headings,
        f"**{SUMMARY}**",
    )
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in out.replace("\\<", "<").splitlines()
        if line.startswith("| ")
    ]
    assert sorted(row for row in cells if row[-1]) == ROWS
    said = [line.removeprefix(str(file)) for line in paragraphs if line.startswith(str(file))]
    assert sorted(said) == SENTENCES


def test_html(capsys: Capture, write: Write) -> None:
    file = write(FAILING)
    code, out, err = checked(capsys, file, "--format=html")
    assert (code, err) == (1, "")
    page = ElementTree.fromstring(out)
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    assert sorted(row for row in rows if row[-1]) == ROWS
    assert [cell.text for cell in page.iter("b")] == ["a # norm1", "layer with attn", SUMMARY]
    said = [(line.text or "").removeprefix(str(file)) for line in page.findall("p")]
    assert sorted(line for line in said if line.startswith(":")) == SENTENCES


def test_latex(capsys: Capture, write: Write) -> None:
    code, out, err = checked(capsys, write(FAILING), "--format=latex")
    assert (code, err) == (1, "")
    assert "\n\\paragraph{a \\# norm1}\n" in out
    assert f"\nparams all & $<$= & 9,999 & {PARAMS:,} & ok \\\\\n" in out
    assert "\nparams norm1 & = & 32 & 30 & FAILS \\\\\n" in out
    assert (
        ":21: params norm1: expected 32, found 30 ($-$2); 2 $\\times$ D = 2 $\\times$ 15\n" in out
    )
    assert out.endswith(f"\n\\textbf{{{SUMMARY}}}\n")


def test_no_empty_line_ends_a_paragraph_of_latex(capsys: Capture, write: Write) -> None:
    file = write(f'{LAYER}name = "two\\n\\nlines"\nmax_macs = 99_999\n')
    code, out, err = checked(capsys, file, "--format=latex")
    assert (code, err) == (0, "")
    assert "\n\\paragraph{two  lines}\n" in out


def test_csv(capsys: Capture, write: Write) -> None:
    code, out, err = checked(capsys, write(FAILING), "--format=csv")
    assert (code, err) == (1, SAID)
    head, *rows = csv.reader(StringIO(out), strict=True)
    assert ",".join(head) == "case,line,what,relation,expected,found,difference,holds"
    cases = ["a # norm1"] * 6 + ["layer with attn"]
    assert rows == [
        [case, *map(str, (line, what, relation, expected, found, found - expected, holds))]
        for case, (line, what, relation, expected, found, holds) in zip(
            cases, OUTCOMES, strict=True
        )
    ]


FILES = [
    ("table", ".txt"),
    ("markdown", ".md"),
    ("markdown", ".markdown"),
    ("latex", ".tex"),
    ("html", ".html"),
    ("csv", ".csv"),
    ("json", ".json"),
    ("junit", ".xml"),
    ("junit", ".XML"),
]


@pytest.mark.parametrize(("format", "suffix"), FILES)
def test_a_file_holds_what_is_printed(
    capsys: Capture, monkeypatch: Patch, write: Write, format: str, suffix: str
) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # which a table in a file has
    file = write(FAILING)
    code, printed, _ = checked(capsys, file, f"--format={format}")
    assert code == 1
    to = file.with_name(f"outcomes{suffix}")
    assert checked(capsys, file, f"--output={to}") == (1, "", SAID)
    assert to.read_text(encoding="utf-8") == printed
    # A format that is given overrules the suffix.
    other = file.with_name("outcomes.json")
    assert checked(capsys, file, f"--output={other}", f"--format={format}") == (1, "", SAID)
    assert other.read_text(encoding="utf-8") == printed


def test_parquet(capsys: Capture, write: Write) -> None:
    file = write(FAILING)
    to = file.with_name("outcomes.parquet")
    assert checked(capsys, file, f"--output={to}") == (1, "", SAID)
    table = parquet.read_table(to)
    names = ("line", "what", "relation", "expected", "found", "holds")
    columns = [table.column(name).to_pylist() for name in names]
    assert [*zip(*columns, strict=True)] == OUTCOMES
    _, printed, _ = checked(capsys, file, "--format=json")
    assert json.loads(table.schema.metadata[b"vitprof"]) == json.loads(printed)


def test_the_function_finds_what_the_command_finds(capsys: Capture, write: Write) -> None:
    file = write(FAILING)
    found = vitprof.check(file)
    for name, text in (("json", found.to_json()), ("csv", found.to_csv())):
        assert checked(capsys, file, f"--format={name}") == (1, text, SAID)
    assert [
        (outcome.line, outcome.what, outcome.relation, outcome.expected, outcome.found)
        for _, outcome in found.outcomes
    ] == [outcome[:-1] for outcome in OUTCOMES]
    assert found.complaint == SUMMARY
    frame = found.to_frame()
    assert [*frame["holds"]] == [holds for *_, holds in OUTCOMES]
    assert str(frame["holds"].dtype) == "boolean"
    assert vitprof.check(str(write(f"{LAYER}max_macs = 99_999\n"))).complaint == ""


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "html"])
def test_a_summary_lists_what_fails_alone(capsys: Capture, write: Write, format: str) -> None:
    file = write(FAILING)
    code, out, err = checked(capsys, file, "--summary", f"--format={format}")
    assert (code, err) == (1, "")
    assert out.count("norm1: expected") == 2
    assert "mlp.fc2" not in out
    assert "FAILS" not in out
    assert out.count(SUMMARY) == 1
    if format == "table":
        *said, summary = out.splitlines()
        assert sorted(line.removeprefix(str(file)) for line in said) == SENTENCES
        assert summary == SUMMARY


@pytest.mark.parametrize("format", ["csv", "json", "junit"])
def test_a_summary_is_of_no_data(capsys: Capture, write: Write, format: str) -> None:
    """A summary does not change the formats that programs read."""
    file = write(FAILING)
    whole = checked(capsys, file, f"--format={format}")
    assert checked(capsys, file, f"--format={format}", "--summary") == whole
    assert "mlp.fc2" in whole[1]


@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_narrow_table_cuts_nothing(
    capsys: Capture, monkeypatch: Patch, write: Write, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = checked(capsys, write(FAILING))
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    words = out.split()
    for row in ROWS:
        assert {*" ".join(row).split()} <= {*words}


@pytest.mark.parametrize("format", ["table", "markdown", "json", "junit"])
def test_annotations_on_github(
    capsys: Capture, monkeypatch: Patch, write: Write, format: str
) -> None:
    file = write(FAILING.replace("a # norm1", "10%: a, b\\nnorm1"))
    said = SAID if format in ("json", "junit") else ""
    code, plain, err = checked(capsys, file, f"--format={format}")
    assert (code, err) == (1, said)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, out, err = checked(capsys, file, f"--format={format}")
    assert (code, out) == (1, plain)
    titles = dict.fromkeys((10, 11, 15), "10%25%3A a%2C b%0Anorm1") | {21: "layer with attn"}
    assert err.endswith(said)
    assert sorted(err.removesuffix(said).splitlines()) == sorted(
        f"::error file={file},line={line},title={titles[line]}::{words}" for line, words in FAILURES
    )


def test_no_annotations_where_all_holds(capsys: Capture, monkeypatch: Patch, write: Write) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, _, err = checked(capsys, write(f"{LAYER}max_macs = 99_999\n"))
    assert (code, err) == (0, "")


# Invalid files.

REFUSED = [
    # text, its line that is wrong, and what is said of it
    ("", None, r"no \[\[expect\]\]"),
    ("# nothing\n", None, r"no \[\[expect\]\]"),
    ("[[expect]\n", 1, "not TOML"),
    (f"{LAYER}norm1 =\n", 3, "not TOML"),
    (f"{LAYER}max_macs = 1\nmax_macs = 1\n", 4, "not TOML"),
    (f"{LAYER}a = {'[' * 5000}\n", None, "not TOML"),
    (f"{LAYER}max_macs = {'9' * 5000}\n", None, "not TOML"),
    # Types.
    ("expect = 3\n", 1, "expect"),
    ("\nexpect = [3]\n", 2, "expect"),
    ("# one\n[expect]\n", 2, r"\[\[expect\]\]"),
    ("[[expect]]\nspec = 3\n", 2, "spec is a table of names and values, not 3"),
    ("[[expect]]\nspec = [1]\n", 2, "spec is a table"),
    ("[[expect]]\nspec = { model = 3 }\n", 2, "model is a name in quotes, not 3"),
    ('[[expect]]\nspec = { mixer = ["attn"] }\n', 2, "mixer is a name in quotes"),
    ('[[expect]]\nspec = { batch = "x" }\n', 2, "batch x is not a whole number"),
    ("[[expect]]\nspec = { batch = 1.5 }\n", 2, r"batch 1\.5 is not a whole number"),
    ("[[expect]]\nspec = { batch = true }\n", 2, "batch True is not a whole number"),
    ("[[expect]]\nspec = { batch = 0 }\n", 2, "batch 0 is out of range"),
    ("[[expect]]\nspec = { dim = 64.0 }\n", 2, r"dim 64\.0 is not a whole number"),
    ("[[expect]]\nspec = { mlp_ratio = true }\n", 2, "mlp ratio True is not a number"),
    ('[[expect]]\nspec = { fused = "yes" }\n', 2, "fused is on or off"),
    ("[[expect]]\nspec = { activation = [1] }\n", 2, "activation can be gelu, relu or silu"),
    (f'{LAYER}reconciled = "yes"\n', 3, "reconciled is on or off.*not 'yes'"),
    (f"{LAYER}reconciled = 1\n", 3, "reconciled is on or off"),
    (f"{LAYER}params = 3\n", 3, "params is a table of names and values, not 3"),
    (f"{LAYER}macs = [1]\n", 3, "macs is a table"),
    (f"{LAYER}name = 3\n", 3, "name is"),
    (f"{LAYER}name = ['a']\n", 3, "name is"),
    # Keys.
    (f"title = 'x'\n{LAYER}", 1, "no key 'title'.*known are expect"),
    (f"# one\n{LAYER}{LAYER}[extra]\n", 6, "no key 'extra'"),
    (f"{LAYER}max_mac = 1\n", 3, "no key 'max_mac'.*did you mean max_macs"),
    (f"{LAYER}\n[expect.parms]\nall = 1\n", 4, "no key 'parms'.*did you mean params"),
    ("[[expect]]\nspec = { dims = 1 }\n", 2, "no option of mae.*'dims'.*did you mean dim"),
    (
        f"{LAYER}max_macs = 1\n[[expect]]\nspec = {{ tokens = 5, depth = 2 }}\n",
        5,
        "depth is an option of mae",
    ),
    ('[[expect]]\n[expect.spec]\nmodel = "layr"\n', 2, "no model 'layr'.*did you mean layer"),
    ('[[expect]]\nspec = { mixer = "lamda" }\n', 2, "no mixer 'lamda'.*did you mean lambda"),
    ("[[expect]]\nspec = { dim = 60, heads = 7 }\n", 2, "dim 60 is not divisible by 7 heads"),
    # Layers.
    (f"{LAYER}[expect.params]\nall = 2850\nnorm3 = 1\n", 5, "'norm3'.*did you mean norm"),
    (f"{LAYER}[expect.macs]\n'mixer.qvk' = 1\n", 4, "'mixer.qvk'.*did you mean mixer.qkv"),
    (f"{LAYER}params = {{ al = 1 }}\n", 3, "no total or layer 'al'.*did you mean all"),
    (f"{LAYER}[expect.macs]\nall = 1\n", 4, "no total or layer 'all' in the macs"),
    # Counts.
    (f"{LAYER}max_params = true\n", 3, "True is not a count"),
    (f"{LAYER}max_params = 1.0\n", 3, r"1\.0 is not a count"),
    (f"{LAYER}[expect.params]\nall = [1]\n", 4, r"\[1\] is not a count"),
    (f"{LAYER}[expect.params]\nall = {{ a = 1 }}\n", 4, "is not a count"),
    (f"{LAYER}[expect.params]\nall = 2026-01-01\n", 4, "is not a count"),
    (f"{LAYER}[expect.params]\nall = \"__import__('os')\"\n", 4, "is not a derivation"),
    (f"{LAYER}[expect.params]\nnorm1 = 30\nall = '1/2'\n", 5, "'1/2' is not a derivation"),
    (f"{LAYER}[expect.params]\nall = 0x{'f' * 5000}\n", 4, "whole number"),
    # An expectation that expects nothing would hold for ever.
    (f"{LAYER}name = 'nothing'\n", 1, "expects nothing"),
    (f"{LAYER}reconciled = false\n[expect.params]\n", 1, "expects nothing"),
    # U+2028 ends a line of text, but none of TOML.
    (f"{LAYER}name = 'a\u2028b'\nmax_mac = 1\n", 4, "no key 'max_mac'"),
]


@pytest.mark.parametrize(("text", "line", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_file_that_is_none(
    capsys: Capture, write: Write, text: str, line: int | None, sentence: str
) -> None:
    file = write(text)
    said = refused(capsys, file)
    assert said.startswith(f"vitprof: {file}")
    assert re.search(sentence, said), said
    if line is not None:
        assert re.findall(r"line (\d+)", said) == [str(line)], said


def test_files_that_cannot_be_read(capsys: Capture, tmp_path: Path) -> None:
    there_is_none = tmp_path / "none.toml"
    said = refused(capsys, there_is_none)
    assert f"cannot read {there_is_none}: no such file" in said
    assert f"cannot read {tmp_path}: is a directory" in refused(capsys, tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes('[[expect]]\nname = "é"\n'.encode("latin-1"))
    assert f"{latin} is not TOML" in refused(capsys, latin)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--format=jnit"], "there is no format 'jnit'; did you mean junit? known are table, "),
        (["--format=parquet"], "cannot be printed to the terminal; give --output FILE.parquet"),
        (["--output=a.toml"], "'a.toml' is not that of a format; end it in .txt, .md, "),
        (["--output=a"], ".json, .parquet or .xml, or give --format"),
        (["--output=none/a.xml"], "cannot write none/a.xml: there is no directory none"),
        (["--write", "--format=json"], "leave out --format, --output and --summary"),
        (["--write", "--output=a.xml"], "leave out --format, --output and --summary"),
        (["--write", "--summary"], "leave out --format, --output and --summary"),
        (["--model=layer"], "only with --write"),
        (["--mixer=attn"], "only with --write"),
        (["--dim=64"], "only with --write"),
        (["--batch=2"], "only with --write"),
        (["--force"], "only with --write"),
        (["more.toml"], "more.toml"),
    ],
)
def test_words_that_do_not_fit(
    capsys: Capture, write: Write, words: list[str], sentence: str
) -> None:
    assert sentence in refused(capsys, write(f"{LAYER}max_macs = 99_999\n"), *words)


# A first file.

SMALL = {
    **{"mask_ratio": "0.3", "dim": 12, "depth": 2, "heads": 3, "mlp_ratio": "1/3"},
    **{"decoder_dim": 20, "decoder_depth": 1, "decoder_heads": 5},
}


def words_of(spelling: Spelling) -> list[str]:
    spec = spelling.specify(SMALL)
    options = {**spec.values(), **spec.mixer.values()}.items()
    words = [f"--model={spec.name}", f"--mixer={spec.mixer.name}"]
    for name, value in options:
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] * value
        else:
            words.append(f"{option}={value}")
    return words


@pytest.mark.parametrize("spelling", SOME[::3], ids=str)
def test_a_first_file_is_green_and_each_digit_of_it_matters(
    capsys: Capture, tmp_path: Path, spelling: Spelling
) -> None:
    words = words_of(spelling)
    file = tmp_path / "first.toml"
    assert checked(capsys, "--write", "--batch=3", *words, file) == (0, "", "")
    (case,) = read_cases(file)
    assert (case.batch, case.reconciled) == (3, True)
    assert {"all", "macs", "flops", "layers"} <= {it.key for it in case.expectations}
    derived = [it for it in case.expectations if not it.derivation.isdigit()]
    assert all("*" in it.derivation for it in derived)
    assert derived
    wrong = tuple(slip for it in case.expectations for slip in slips(it))
    assert not any(outcome.holds for outcome in replace(case, expectations=wrong).evaluate())
    code, out, err = checked(capsys, file)
    assert (code, err) == (0, "")
    number = len(case.expectations) + 2 * len(TOOLS)
    assert out.splitlines()[-1] == f"{number} of {number} expectations hold"


def test_a_first_file_names_every_choice_and_every_row(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "first.toml"
    words = ["--tokens=7", "--dim=15", "--heads=3", "--mlp-ratio=0.2", "--batch=2"]
    assert checked(capsys, "--write", file, *words) == (0, "", "")
    (table,) = tomllib.loads(file.read_text(encoding="utf-8"))["expect"]
    assert table["spec"] == {
        **{"model": "layer", "mixer": "attn", "tokens": 7, "dim": 15, "heads": 3},
        **{"mlp_ratio": 0.2, "activation": "relu", "fused": False, "batch": 2},
        **{"kv_heads": 0, "qk_norm": False, "qkv_bias": True, "talking_heads": False},
        **{"mlp": "plain", "block": "pre", "norm": "layer", "layer_scale": False},
        **{"dropout": 0, "drop_path": 0},
    }
    assert list(table["params"].items())[5:] == [
        ("norm1", "2 * 15"),
        ("mixer.qkv", "15 * 45 + 45"),
        ("mixer.fc_out", "15 * 15 + 15"),
        ("norm2", "2 * 15"),
        ("mlp.fc1", "15 * 3 + 3"),
        ("mlp.fc2", "3 * 15 + 15"),
    ]
    macs = 2 * 7 * (15 * 45 + 15 * 15 + 15 * 3 + 3 * 15) + 2 * 2 * 3 * 7 * 7 * 5
    assert table["macs"] == {
        "macs": macs,
        "flops": 2 * macs,
        "mixer.qkv": "2 * 7 * 15 * 45",
        "mixer.scores": "2 * 3 * 7 * (5 * 7)",
        "mixer.output": "2 * 3 * 7 * (7 * 5)",
        "mixer.fc_out": "2 * 7 * 15 * 15",
        "mlp.fc1": "2 * 7 * 15 * 3",
        "mlp.fc2": "2 * 7 * 3 * 15",
    }


def test_a_file_is_never_overwritten_unless_forced(capsys: Capture, write: Write) -> None:
    mine = f"{LAYER}max_macs = 99_999 # mine\n"
    file = write(mine)
    said = refused(capsys, file, "--write", "--model=layer")
    assert f"{file} exists" in said
    assert "--force" in said
    assert file.read_text(encoding="utf-8") == mine
    assert checked(capsys, file, "--write", "--force", "--model=layer") == (0, "", "")
    (case,) = read_cases(file)
    assert case.name == "layer with attn"


@pytest.mark.parametrize("words", [["--dim=63"], ["--mixer=lamda"], ["--batch=0"], ["--dims=1"]])
def test_a_slip_writes_nothing(capsys: Capture, write: Write, words: list[str]) -> None:
    file = write("mine")
    refused(capsys, file, "--write", "--force", "--model=layer", *words)
    assert file.read_text(encoding="utf-8") == "mine"
    other = file.with_name("other.toml")
    refused(capsys, other, "--write", "--model=layer", *words)
    assert [it.name for it in file.parent.iterdir()] == [file.name]


def test_a_first_file_where_none_can_be(capsys: Capture, tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "first.toml"
    assert f"cannot write {nowhere}" in refused(capsys, nowhere, "--write")
    assert str(tmp_path) in refused(capsys, tmp_path, "--write", "--force")


# Tools.

RECONCILED = f"{LAYER}reconciled = true\n"
every_tool = pytest.mark.parametrize("tool", TOOLS)


def test_every_tool_is_reconciled(capsys: Capture, write: Write) -> None:
    code, out, err = checked(capsys, write(RECONCILED), "--format=json")
    assert (code, err) == (0, "")
    ((*outcomes,),) = (case["outcomes"] for case in json.loads(out)["cases"])
    assert [outcome["what"] for outcome in outcomes] == [
        f"{command} {tool} reconciled" for command in ("params", "macs") for tool in TOOLS
    ]
    assert {outcome["found"] for outcome in outcomes} == {"explained"}


@every_tool
def test_a_reading_that_is_not_explained_fails(
    capsys: Capture, monkeypatch: Patch, write: Write, tool: str
) -> None:
    counter = TOOLS[tool]

    def doctored(*given: Any) -> Reading:
        reading = counter.macs(*given)
        return replace(reading, total=reading.total + 5)

    monkeypatch.setitem(TOOLS, tool, replace(counter, macs=doctored))
    file = write(RECONCILED)
    code, out, err = checked(capsys, file)
    assert (code, err) == (1, "")
    (failure,) = (line for line in out.splitlines() if line.startswith(str(file)))
    assert failure.startswith(f"{file}:1: macs {tool} reconciled: expected explained, found ")
    assert failure.endswith("+5 UNEXPLAINED")


@pytest.mark.parametrize("reason", ["it broke", "[/b] [red] out of [1, 2]"])
@every_tool
def test_a_tool_that_breaks_fails(
    capsys: Capture, monkeypatch: Patch, write: Write, tool: str, reason: str
) -> None:
    def breaks(*given: object) -> NoReturn:
        raise RuntimeError(reason)

    monkeypatch.setitem(TOOLS, tool, replace(TOOLS[tool], macs=breaks))
    code, out, err = checked(capsys, write(RECONCILED))
    assert (code, err) == (1, "")
    assert out.count(f"n/a: raises RuntimeError: {reason}") == 2  # in the table and below it
    assert out.splitlines()[-1] == "5 of 6 expectations hold, 1 do not"


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool != "torch"])
def test_a_tool_that_is_not_installed_does_not_fail(
    capsys: Capture, monkeypatch: Patch, write: Write, tool: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == tool]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, tool, None)
    find = importlib.metadata.version

    def version(package: str) -> str:
        if package == tool:
            raise importlib.metadata.PackageNotFoundError(tool)
        return find(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    code, out, err = checked(capsys, write(RECONCILED))
    assert (code, err) == (0, "")
    assert out.count("n/a: cannot be imported") == 2
    assert out.splitlines()[-1] == "6 of 6 expectations hold"


def test_a_model_too_large_to_run_is_not_passed_over(capsys: Capture, write: Write) -> None:
    large = '[[expect]]\nspec = { model = "layer", mixer = "lambda", tokens = 1_000_000 }\n'
    code, out, err = checked(capsys, write(f"{large}reconciled = true\n"))
    assert (code, err) == (1, "")
    assert "macs fvcore reconciled: expected explained, found n/a: has to execute" in out
