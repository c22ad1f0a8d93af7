"""The outcomes of `vitprof check` in every format."""

from __future__ import annotations

import csv
import json
from io import StringIO
from xml.etree import ElementTree

import check_files
import pytest
from check_files import (
    FAILING,
    FAILURES,
    LAYER,
    OUTCOMES,
    PARAMS,
    ROWS,
    SAID,
    SENTENCES,
    SUMMARY,
    Patch,
    Write,
    checked,
)
from commands import Capture
from pyarrow import parquet

nowhere_in_particular = check_files.nowhere_in_particular
write = check_files.write


def test_json(capsys: Capture, write: Write) -> None:
    file = write(FAILING)
    code, out, err = checked(capsys, file, "--format=json")
    assert (code, err) == (1, SAID)
    document = json.loads(out)
    first, second = document.pop("cases")
    assert document == {
        "schema": "vitprof/2",
        "command": "check",
        "files": [str(file)],
        "holds": False,
    }
    assert (first["file"], first["name"], first["line"]) == (str(file), "a # norm1", 3)
    assert len(first["outcomes"]) == 6
    assert {
        "what": "params norm1",
        "relation": "=",
        "expected": 31,
        "found": 30,
        "formula": "2 × D = 2 × 15",
        "holds": False,
        "line": 15,
        "unit": "",
        "derivation": "2 * 15",
        "place": ["params", "norm1"],
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
        "unit": "",
        "derivation": "",
        "place": ["max_params"],
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
        {"name": "a # norm1", "file": str(file), "tests": "6", "failures": "3"},
        {"name": "layer with attn", "file": str(file), "tests": "1", "failures": "1"},
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
    assert test.get("file") == str(file.with_name("a\\x01b.toml"))


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
    assert "\n\\paragraph{two\\textbackslash{}n\\textbackslash{}nlines}\n" in out


def test_csv(capsys: Capture, write: Write) -> None:
    file = write(FAILING)
    code, out, err = checked(capsys, file, "--format=csv")
    assert (code, err) == (1, SAID)
    head, *rows = csv.reader(StringIO(out), strict=True)
    assert ",".join(head) == "file,case,line,what,relation,expected,found,difference,unit,holds"
    cases = ["a # norm1"] * 6 + ["layer with attn"]
    assert rows == [
        [
            *(str(file), case),
            *map(str, (line, what, relation, expected, found, found - expected, "", holds)),
        ]
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
