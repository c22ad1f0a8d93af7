"""`vitprof check`: its exit code, its messages, summaries, and annotations."""

from __future__ import annotations

import check_files
import pytest
from check_files import (
    FAILING,
    FAILURES,
    HOLDING,
    LAYER,
    OUTCOMES,
    SAID,
    SENTENCES,
    SUMMARY,
    Patch,
    Write,
    checked,
    refused,
)
from commands import Capture

import vitprof

nowhere_in_particular = check_files.nowhere_in_particular
write = check_files.write


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
    titles = dict.fromkeys((10, 11, 15), "10%25%3A a%2C b\\nnorm1") | {21: "layer with attn"}
    assert err.endswith(said)
    assert sorted(err.removesuffix(said).splitlines()) == sorted(
        f"::error file={file},line={line},title={titles[line]}::{words}" for line, words in FAILURES
    )


def test_no_annotations_where_all_holds(capsys: Capture, monkeypatch: Patch, write: Write) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, _, err = checked(capsys, write(f"{LAYER}max_macs = 99_999\n"))
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--format=jnit"], "there is no format 'jnit'; did you mean junit? known are table, "),
        (["--format=parquet"], "cannot be printed to the terminal; give --output FILE.parquet"),
        (["--output=a.toml"], "'a.toml' is not that of a format; end it in .txt, .md, "),
        (["--output=a"], ".json, .parquet or .xml, or give --format"),
        (["--output=none/a.xml"], "cannot write none/a.xml: there is no directory none"),
        (["--write", "--format=json"], "leave out --format, --output, --summary and --update"),
        (["--write", "--output=a.xml"], "leave out --format, --output, --summary and --update"),
        (["--write", "--summary"], "leave out --format, --output, --summary and --update"),
        (["--write", "--update"], "leave out --format, --output, --summary and --update"),
        (["--write", "vit-b-16", "deit-s"], "and 3 names are given; give FILE and at most one"),
        (["--output=a.xml", "--output=./a.xml"], "a.xml would be written twice"),
        (["--output=a.xml", "--output=b.md", "--format=csv"], "and --output is given 2 times"),
        (["--model=layer"], "only with --write"),
        (["--mixer=attn"], "only with --write"),
        (["--dim=64"], "only with --write"),
        (["--batch=2"], "only with --write"),
        (["--force"], "only with --write"),
        (["--training"], "only with --write"),
        (["more.toml"], "cannot read more.toml: no such file"),
        (["none*.toml"], "no file matches none*.toml; give a TOML file, or a pattern"),
        (["a**b/*.toml"], "cannot look for a**b/*.toml: "),
    ],
)
def test_words_that_do_not_fit(
    capsys: Capture, write: Write, words: list[str], sentence: str
) -> None:
    assert sentence in refused(capsys, write(f"{LAYER}max_macs = 99_999\n"), *words)
