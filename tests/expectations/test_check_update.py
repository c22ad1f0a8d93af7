"""`vitprof check --update`: exact counts become those found, and no other byte changes."""

from __future__ import annotations

import os
import tomllib
from difflib import ndiff
from pathlib import Path

import check_files
import pytest
import tomlkit
from check_files import FAILING, FAILURES, HOLDING, LAYER, MACS, Patch, Write, checked, refused
from commands import Capture
from hypothesis import given
from hypothesis import strategies as st

from vitprof.expectations.expectations import Outcome, Relation
from vitprof.expectations.lines import CheckFileError
from vitprof.expectations.update import updated

nowhere_in_particular = check_files.nowhere_in_particular
write = check_files.write


def outcome_of(expected: int = 1, found: int = 30, *, key: str = "norm1") -> Outcome:
    return Outcome(
        what=f"params {key}",
        relation=Relation.EQUAL,
        expected=expected,
        found=found,
        formula="",
        holds=found == expected,
        place=("params", key),
    )


def changed(before: str, after: str) -> list[str]:
    """Return the lines of one text that are not those of another, with - or + in front."""
    lines = ndiff(before.split("\n"), after.split("\n"))
    return [line for line in lines if line[0] in "-+"]


def test_what_does_not_hold_is_replaced_and_all_else_stays(capsys: Capture, write: Write) -> None:
    file = write(FAILING)
    code, out, err = checked(capsys, file, "--update")
    assert code == 0
    assert out.splitlines()[-1] == "7 of 7 expectations hold"
    assert changed(FAILING, file.read_text(encoding="utf-8")) == [
        '- "mixer.qkv" = "7*15*46" # not 45',
        '+ "mixer.qkv" = "1 * 7 * 15 * 45" # not 45',
        "- macs = 999",
        f"+ macs = {MACS:_}",
        "- norm1 = 31",
        "+ norm1 = 30",
        "- norm1 = 32",
        "+ norm1 = 30",
    ]
    assert sorted(err.splitlines()) == sorted(
        [
            f'{file}:10: macs mixer.qkv was "7*15*46", is "1 * 7 * 15 * 45"',
            f"{file}:11: macs macs was 999, is {MACS:_}",
            f"{file}:15: params norm1 was 31, is 30",
            f"{file}:21: params norm1 was 32, is 30",
        ]
    )
    assert len(FAILURES) == 4
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert [row for row in HOLDING if row not in rows] == []
    assert checked(capsys, file, "--summary") == (0, "7 of 7 expectations hold\n", "")


def test_a_file_that_holds_is_not_touched(capsys: Capture, write: Write) -> None:
    file = write(f"{LAYER}[expect.params]\nnorm1 = 30\n")
    os.utime(file, (1, 1))
    inode = file.stat().st_ino
    assert checked(capsys, file, "--update", "--summary")[::2] == (0, "")
    assert (file.stat().st_mtime, file.stat().st_ino) == (1, inode)


def test_a_bound_is_not_moved(capsys: Capture, write: Write) -> None:
    text = f"{LAYER}max_params = 1 # too few\nmax_macs = '1k'\n[expect.params]\nnorm1 = 1\n"
    file = write(text)
    code, out, err = checked(capsys, file, "--update", "--summary")
    assert code == 1
    assert err == f"{file}:6: params norm1 was 1, is 30\n"
    assert out.splitlines()[-1] == "1 of 3 expectations hold, 2 do not"
    assert changed(text, file.read_text(encoding="utf-8")) == ["- norm1 = 1", "+ norm1 = 30"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("31", "30"),
        ("0x1F", "30"),
        ('"31"', '"30"'),
        ("'3_1'", '"30"'),
        ('"2*15 + 1"', '"2 * 15"'),
        ("'2*15 + 1'", '"2 * 15"'),
        ('"""2*16"""', '"2 * 15"'),
        ('"2 * 15"', '"2 * 15"'),
        ("'15 + 15'", "'15 + 15'"),
    ],
)
def test_a_value_is_written_as_it_was(
    capsys: Capture, write: Write, before: str, after: str
) -> None:
    file = write(f"{LAYER}[expect.params]\n  norm1  =  {before}  # why\n")
    assert checked(capsys, file, "--update")[0] == 0
    wanted = f"{LAYER}[expect.params]\n  norm1  =  {after}  # why\n"
    assert file.read_text(encoding="utf-8") == wanted


@pytest.mark.parametrize(
    ("before", "after"), [("1", "2_895"), ("1_0", "2_895"), ("1234", "2895"), ('"9*9"', "2_895")]
)
def test_a_total_has_no_formula(capsys: Capture, write: Write, before: str, after: str) -> None:
    file = write(f"{LAYER}[expect.params]\nall = {before}\n")
    assert checked(capsys, file, "--update")[0] == 0
    assert file.read_text(encoding="utf-8") == f"{LAYER}[expect.params]\nall = {after}\n"


@pytest.mark.parametrize(
    "text",
    [
        f'{LAYER}params = {{ norm1 = 31, "mixer.qkv" = "15*45 + 45" }} # in a line\n',
        f"{LAYER}params.norm1 = 31\nparams.'mixer.qkv' = '15*45 + 45'\n",
        f'{LAYER}params.norm1 = 31\nmacs.macs = 1\nparams."mixer.qkv" = 1_9 # apart\n',
        f"{LAYER}\n\n  [ expect . params ] # x\n\t'norm1'=31#y\n\n# end",
        f"{LAYER}[expect.macs]\nmacs = 7\n[expect.params]\nnorm1 = 31\n{LAYER}max_macs = '1G'\n",
        f'{LAYER}[expect.params]\nnorm1 = 31\n\n{LAYER}[expect.params]\n"norm2" = 31\n',
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_layout_stays(
    capsys: Capture, tmp_path: Path, text: str, ending: str, mark: str
) -> None:
    file = tmp_path / "check.toml"
    before = f"{mark}{text}".replace("\n", ending).encode()
    file.write_bytes(before)
    assert checked(capsys, file, "--update", "--summary")[0] == 0
    after = file.read_bytes()
    assert after.count(b"\r\n") == before.count(b"\r\n")
    assert after.startswith(mark.encode())
    wanted = before.replace(b"31", b"30").replace(b"macs = 7", b"macs = 20_370")
    assert after == wanted.replace(b"macs.macs = 1", b"macs.macs = 20_370").replace(b"1_9", b"720")


@given(st.data())
def test_any_counts_of_any_cases(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """An update writes the counts found, and leaves every line that holds as it was."""
    values = data.draw(st.lists(st.lists(st.integers(0, 9**9), max_size=3), min_size=1, max_size=3))
    lines, cases = [], []
    for values_of_case in values:
        lines += ["[[expect]] # case", "max_macs = 1", "[expect.params]"]
        outcomes = []
        for number, value in enumerate(values_of_case):
            lines.append(f"'a.{number}'={value}# {number}")
            found = data.draw(st.just(value) | st.integers(0, 9**9))
            outcomes.append(outcome_of(value, found, key=f"a.{number}"))
        cases.append(outcomes)
    file = tmp_path_factory.mktemp("any") / "check.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    text, changes = updated(file, cases)
    every = [one for outcomes in cases for one in outcomes]
    assert len(changes) == sum(not one.holds for one in every)
    read = [[*case["params"].values()] for case in tomllib.loads(text)["expect"]]
    assert read == [[one.found for one in outcomes] for outcomes in cases]
    pairs = zip(lines, text.split("\n"), strict=True)
    assert sum(old != new for old, new in pairs) == len(changes)


def test_memory_is_updated(capsys: Capture, write: Write) -> None:
    text = f"{LAYER}max_memory = '1GiB'\n[expect.memory]\npeak = '4*2895' # weights\n"
    file = write(text)
    assert checked(capsys, file, "--update", "--summary")[0] == 0
    (case,) = tomllib.loads(file.read_text(encoding="utf-8"))["expect"]
    assert case["memory"]["peak"] > 16 * 2895
    assert checked(capsys, file, "--summary")[0] == 0


def test_several_files_are_all_updated(capsys: Capture, write: Write) -> None:
    file = write(FAILING)
    other = file.with_name("other.toml")
    other.write_text(f"{LAYER}[expect.params]\nnorm1 = 2\n", encoding="utf-8")
    code, _, err = checked(capsys, file, other, "--update", "--summary")
    assert (code, len(err.splitlines())) == (0, 5)
    assert err.splitlines()[-1] == f"{other}:4: params norm1 was 2, is 30"
    assert checked(capsys, file, other, "--summary")[0] == 0


def test_a_layer_that_there_is_not_updates_nothing(capsys: Capture, write: Write) -> None:
    text = f"{LAYER}[expect.params]\nnorm1 = 1\nnorm3 = 1\n"
    file = write(text)
    assert "line 5: there is no total or layer 'norm3'" in refused(capsys, file, "--update")
    assert file.read_text(encoding="utf-8") == text


def test_a_file_that_changes_meanwhile_is_not_lost(write: Write) -> None:
    file = write(f"{LAYER}[expect.params]\nnorm1 = 1\n")
    outcome = outcome_of()
    _, (change,) = updated(file, [[outcome]])
    assert (change.old, change.new) == ("1", "30")
    for other in ("norm1 = 2", "norm2 = 1", "", "norm1 =", "norm1 = 'x'"):
        write(f"{LAYER}[expect.params]\n{other}\n")
        with pytest.raises(CheckFileError, match="has changed while it was checked"):
            updated(file, [[outcome]])
    with pytest.raises(CheckFileError, match="has changed while it was checked"):
        updated(write("# nothing\n"), [[outcome]])
    file.unlink()
    with pytest.raises(CheckFileError, match="nothing is updated"):
        updated(file, [[outcome]])


def test_a_file_that_would_not_be_the_same_is_refused(write: Write, monkeypatch: Patch) -> None:
    """If the library that keeps the layout lost a value, nothing would be written."""
    parse = tomlkit.parse
    monkeypatch.setattr(tomlkit, "parse", lambda text: parse(text.replace("7", "8")))
    file = write(f"{LAYER}[expect.params]\nnorm1 = 1\n")
    outcome = outcome_of()
    with pytest.raises(CheckFileError, match="its values cannot be replaced one by one"):
        updated(file, [[outcome]])


def test_a_file_that_cannot_be_written_stays(
    capsys: Capture, write: Write, monkeypatch: Patch
) -> None:
    """An interrupted write leaves the file whole, and nothing beside it."""
    file = write(FAILING)

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    assert checked(capsys, file, "--update")[0] == 130
    assert file.read_text(encoding="utf-8") == FAILING
    assert [one.name for one in file.parent.iterdir()] == [file.name]
