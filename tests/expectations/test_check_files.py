"""Several check files: read before anything is printed, each named in what is reported."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import check_files
import pytest
from check_files import LAYER, Patch, checked, refused
from commands import Capture

import vitprof
from vitprof.errors import SpecError
from vitprof.expectations.lines import CheckFileError

nowhere_in_particular = check_files.nowhere_in_particular

HOLDS = f'{LAYER}name = "the layer"\n[expect.params]\nnorm1 = 30\n'
FAILS = f'# one line more\n{LAYER}name = "the layer"\n[expect.params]\nnorm1 = 31\n'
SAID = "b.toml:6: params norm1: expected 31, found 30 (−1); 2 × D = 2 × 15"
SUMMARY = "2 of 3 expectations hold in 3 files, 1 do not"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Work in a folder with two files, and one more in a folder below."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checks").mkdir()
    for name, text in (("a.toml", HOLDS), ("b.toml", FAILS), ("checks/c.toml", HOLDS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_each_row_names_its_file(capsys: Capture) -> None:
    code, out, err = checked(capsys, "a.toml", "b.toml", "checks/*.toml")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    headings = [line for line in lines if line.endswith(": the layer")]
    assert headings == [f"{file}: the layer" for file in ("a.toml", "b.toml", "checks/c.toml")]
    assert lines[-2:] == [SAID, SUMMARY]


def test_programs_read_the_file_of_each_outcome(capsys: Capture) -> None:
    names = ["a.toml", "b.toml", "checks/c.toml"]
    code, out, _ = checked(capsys, *names, "--format=json")
    said = json.loads(out)
    assert (code, said["files"], [case["file"] for case in said["cases"]]) == (1, names, names)
    _, out, _ = checked(capsys, *names, "--format=csv")
    assert [row["file"] for row in csv.DictReader(StringIO(out))] == names
    _, out, _ = checked(capsys, *names, "--format=junit")
    root = ElementTree.fromstring(out)
    assert [(suite.get("name"), suite.get("file")) for suite in root] == [
        (f"{file}: the layer", file) for file in names
    ]
    tests = [(test.get("file"), test.get("line")) for test in root.iter("testcase")]
    assert tests == [("a.toml", "5"), ("b.toml", "6"), ("checks/c.toml", "5")]


def test_annotations_name_the_file(capsys: Capture, monkeypatch: Patch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    _, _, err = checked(capsys, "a.toml", "b.toml")
    assert err.startswith("::error file=b.toml,line=6,title=the layer::params norm1: expected 31")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (["*.toml"], ["a.toml", "b.toml"]),
        (["b.toml", "*.toml"], ["b.toml", "a.toml"]),
        (["**/*.toml"], ["a.toml", "b.toml", "checks/c.toml"]),
        (["a.toml", "./a.toml", "checks/../a.toml"], ["a.toml", "checks/../a.toml"]),
        (["checks/[a-c].toml"], ["checks/c.toml"]),
    ],
)
def test_a_pattern_is_the_files_that_match(names: list[str], read: list[str]) -> None:
    assert list(vitprof.check(*names).files) == read


def test_a_file_is_read_once(files: Path) -> None:
    assert vitprof.check("a.toml", files / "a.toml", files / "b.toml", "*.toml").files == (
        *("a.toml", str(files / "b.toml")),
    )


def test_a_pattern_passes_over_hidden_files_and_folders(files: Path) -> None:
    """An editor or an interrupted write may leave them."""
    (files / ".a.toml").write_text("broken", encoding="utf-8")
    (files / "folder.toml").mkdir()
    assert list(vitprof.check(files / "*.toml").files) == [
        str(files / "a.toml"),
        str(files / "b.toml"),
    ]


def test_a_file_with_signs_of_a_pattern_is_itself(files: Path) -> None:
    (files / "a[1].toml").write_text(HOLDS, encoding="utf-8")
    assert vitprof.check("a[1].toml").files == ("a[1].toml",)


@pytest.mark.parametrize("format", ["table", "json", "junit"])
def test_a_file_that_cannot_be_read_ends_the_check_before_it_begins(
    capsys: Capture, files: Path, format: str
) -> None:
    (files / "d.toml").write_text(f"{LAYER}max_mac = 1\n", encoding="utf-8")
    said = refused(capsys, "b.toml", "d.toml", f"--format={format}")
    assert said.startswith("vitprof: d.toml, line 3: there is no key 'max_mac'")
    assert "cannot read e.toml" in refused(capsys, "b.toml", "e.toml", f"--format={format}")
    looked_at: list[str] = []
    with pytest.raises(CheckFileError):
        vitprof.check("b.toml", "e.toml", say=looked_at.append)
    assert looked_at == []


def test_one_run_writes_several_formats(capsys: Capture, files: Path) -> None:
    outputs = ["--output=it.xml", "--output=it.md", "--output=it.json"]
    code, out, err = checked(capsys, "a.toml", "b.toml", *outputs)
    summary = SUMMARY.replace("3 files", "2 files").replace("2 of 3", "1 of 2")
    assert (code, out, err) == (1, "", f"vitprof: {summary}\n")
    for name, suffix in (("junit", "xml"), ("markdown", "md"), ("json", "json")):
        _, printed, _ = checked(capsys, "a.toml", "b.toml", f"--format={name}")
        assert (files / f"it.{suffix}").read_text(encoding="utf-8") == printed


def test_python_needs_a_file() -> None:
    with pytest.raises(SpecError, match=r"no check file is given; give one, or a pattern"):
        vitprof.check()
