"""Standard streams: closed, full, left by their reader, without Unicode, or narrow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO, TextIOWrapper
from pathlib import Path
from shlex import join

import pytest
from commands import Capture, printed, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from vitprof.cli import run
from vitprof.cli.output import progress
from vitprof.cli.streams import SPELLING, complain, open_streams

PARAMS = ["params", "--counters=analytic"]
WRONG = ["params", "--mixer=lamda"]
CLOSED = "vitprof: cannot write to stdout: it is closed\n"
FULL = "vitprof: cannot write to stdout: no space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_streams_that_cannot_be_written() -> None:
    """Exit code and message of command lines, all in one shell."""
    cases = [
        (PARAMS, ">&-", 2, CLOSED),
        (["--help"], ">&-", 2, CLOSED),
        (["gpus", "--format=json"], ">/dev/full", 2, FULL),
        (["params", "--help"], ">/dev/full", 2, FULL),
        (WRONG, "2>&-", 2, ""),
        (WRONG, "2>/dev/full", 2, ""),
        (PARAMS, ">&- 2>&- <&-", 2, ""),
        ([*PARAMS, "--full", "--format=csv"], "| true; (exit ${PIPESTATUS[0]})", 0, ""),
    ]
    command = [sys.executable, "-m", "vitprof"]
    lines = [
        f'( {join([*command, *words])} {streams} ); echo "code $?" >&2'
        for words, streams, _, _ in cases
    ]
    ended = subprocess.run(
        ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == ""
    assert ended.stderr == "".join(f"{said}code {code}\n" for *_, code, said in cases)


@contextmanager
def streams_of(encoding: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have stdout be a file in an encoding, as of a new process; yield the file."""
    before = os.dup(1)
    file = Path(f"stdout.{encoding}")
    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    with open(os.dup(1), "w", encoding=encoding) as own, monkeypatch.context() as patch:  # noqa: PTH123
        patch.setattr(sys, "stdout", own)
        patch.setattr(sys, "__stdout__", own)
        open_streams()
        try:
            yield file
        finally:
            sys.stdout.flush()
            os.dup2(before, 1)
            os.close(before)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_stdout_that_is_not_unicode(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Formats for programs are UTF-8, as in a file; tables use what the stream can encode."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    for name in ("json", "csv", "markdown", "html", "latex"):
        words = [*PARAMS, f"--format={name}"]
        with streams_of(encoding, monkeypatch) as file:
            assert run(words) == 0
        assert run([*words, "--output=report"]) == 0
        assert file.read_bytes() == Path("report").read_bytes()
    with streams_of(encoding, monkeypatch) as file:
        assert run(["params", "--counters=analytic", "--mixer=linear", "--depth=2"]) == 0
    table = file.read_bytes().decode(encoding)
    by = {"ascii": "x", "latin-1": "×"}[encoding]
    assert f"in {by} out + out" in table
    assert f"blocks.0-1 {by}2" in table
    assert "--------" in table
    assert "?" not in table


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=20))
def test_spelling_loses_nothing(text: str) -> None:
    """Whatever ASCII lacks is spelled or escaped, never replaced by a question mark."""
    written = text.encode("ascii", SPELLING).decode("ascii")
    assert written.count("?") == text.count("?")
    assert len(written) >= len(text)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("2 × N² − 3", "2 x N^2 - 3"),
        ("⌈N / w⌉ ≥ √d", "ceil(N / w) >= sqrt d"),
        ("┌──┐│┤┼", "+--+||+"),
        ("⣿⠁…", "....."),
        ("日\ud800", r"\u65e5\ud800"),
    ],
)
def test_spelling(text: str, spelled: str) -> None:
    assert text.encode("ascii", SPELLING).decode("ascii") == spelled


WIDTHS = ["0", "abc", "-5", "", "²", "9" * 5000, "999999999", "1", "9", "25", "40"]
LINES = [
    ["params", "--counters=analytic", "--preset=vit-b-16"],
    ["memory", "--no-trace", "--tokens=50"],
    ["sweep", "--mixers=attn,linear", "--tokens=64:4096:x8", "--no-chart"],
]


@pytest.mark.parametrize("words", LINES, ids=lambda words: words[0])
def test_no_figure_is_cut_at_any_width(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    figures = {*re.findall(r"\d[\d,.]{3,}", printed(capsys, *words))}
    assert len(figures) > 3
    for width in WIDTHS[::3]:
        monkeypatch.setenv("COLUMNS", width)
        shown = printed(capsys, *words)
        assert [figure for figure in figures if figure not in shown] == [], width


def test_help_at_any_width(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", width)
        shown = printed(capsys, "params", "--help")
        assert "Usage: " in shown, width
        assert max(map(len, shown.splitlines())) <= 10_000


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in brackets is no markup, and ESC in a name does not reach the terminal."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress() as say:
        say("blocks [/] [red]head\x1b[31m")
    assert isinstance(sys.stderr, Terminal)
    shown = sys.stderr.getvalue()
    assert "blocks [/] [red]head\\x1b[31m" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=20))
def test_a_message_is_one_visible_line(reason: str) -> None:
    err, sys.stderr = sys.stderr, StringIO()
    try:
        complain(reason * 50)
        said = sys.stderr.getvalue()
    finally:
        sys.stderr = err
    assert said.startswith("vitprof: ")
    assert said.removesuffix("\n").isprintable()


BOOK = "x" * 100_000


@pytest.mark.parametrize(
    "words",
    [
        ["params", f"--{BOOK}"],
        ["params", f"--dim={BOOK}"],
        ["params", f"--dim={'9' * 4000}"],
        ["params", f"--mlp-ratio={BOOK}"],
        ["params", f"--activation={BOOK}"],
        ["params", f"--mixer={BOOK}"],
        ["params", f"--mixer={BOOK}:X"],
        ["params", f"--model={BOOK}"],
        ["params", f"--preset={BOOK}"],
        ["params", f"--counters={BOOK}"],
        ["params", f"--format={BOOK}"],
        ["params", f"--output={BOOK}"],
        ["params", f"--module={BOOK}"],
        ["params", f"--module={BOOK}:X"],
        ["params", "--module=timm:resnet18", f"--arg={BOOK}"],
        ["params", "--module=timm:resnet18", f"--input={BOOK}"],
        ["memory", f"--memory={BOOK}"],
        ["memory", f"--gpu={BOOK}"],
        ["sweep", f"--tokens={BOOK}"],
        ["sweep", f"--tokens=1:{BOOK}"],
        ["sweep", "--tokens=8,16", f"--plot={BOOK}"],
        ["compare", f"--specs={BOOK}"],
        ["check", BOOK],
        [BOOK],
    ],
    ids=lambda words: " ".join(word[:30] for word in words),
)
def test_a_value_as_long_as_a_book_is_shortened(capsys: Capture, words: list[str]) -> None:
    said = refused(capsys, *words)
    assert len(said) < 1_100
    assert BOOK[:1_000] not in said


def test_what_the_operating_system_refuses_is_not_put_on_stdout(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "/var/tmp/x")

    monkeypatch.setattr("vitprof.cli.load_mixers", refuse)
    said = refused(capsys, "params")
    assert said == "vitprof: the operating system refuses /var/tmp/x: no space left on device\n"


def test_json_escapes_what_a_terminal_would_act_upon(capsys: Capture, tmp_path: Path) -> None:
    name = "a\x1b\x85\u202e\u200b\udcff"
    file = tmp_path / f"{name}.toml"
    file.write_text("[[expect]]\nspec = { model = 'layer' }\nmax_params = 99_999\n", "utf-8")
    text = printed(capsys, "check", str(file), "--format=json")
    assert text.replace("\n", "").isprintable()
    assert json.loads(text)["files"] == [str(file)]
    assert isinstance(sys.stdout, TextIOWrapper)


MODULE = """
from torch import nn


def factory():
    return nn.Linear(3, 4)
"""


@pytest.mark.parametrize(("name", "code"), [("a\x7fb.py", 0), ("a\udcffb.py", 2)])
def test_a_first_check_file_of_a_strange_name(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    """TOML has DEL only as an escape, and half a surrogate pair, a byte that is no text, not."""
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(MODULE, encoding="utf-8")
    words = ("check", "x.toml", "--write", f"--module={name}:factory", "--input=3")
    if code:
        assert "UTF-8 lacks the character \\udcff of a name" in refused(capsys, *words)
        assert not Path("x.toml").exists()
    else:
        assert printed(capsys, *words) == ""
        assert "hold" in printed(capsys, "check", "x.toml", "--trust")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["check", BOOK[:300], "--write"], "cannot write {}: file name too long"),
        (["check", BOOK[:300]], "cannot read {}: file name too long"),
        (["params", f"--module={BOOK[:300]}.py:X"], "cannot read {}.py: file name too long"),
        (
            ["params", f"--module=transformers:{BOOK[:300]}.json"],
            "cannot read {}.json: file name too long",
        ),
        (["gpus", "--output=a\0.csv"], "cannot write a\\x00.csv: embedded null byte"),
    ],
)
def test_a_file_whose_name_cannot_be(capsys: Capture, words: list[str], sentence: str) -> None:
    assert sentence.format(BOOK[:300]) in refused(capsys, *words)
