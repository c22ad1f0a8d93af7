"""Check files: written, run by `vitprof check`, and one that fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Capture

from vitprof.cli import run
from vitprof.expectations.expectations import Expectation, expect

Patch = pytest.MonkeyPatch
Write = Callable[[str], Path]

# One encoder layer: 7 tokens, width 15, 3 heads of 5, MLP 60.
LAYER = '[[expect]]\nspec = { model = "layer", tokens = 7, dim = 15, heads = 3 }\n'


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


def slips(expectation: Expectation) -> list[Expectation]:
    """Yield the expectation with each of its digits replaced in turn."""
    wrong = []
    for place, sign in enumerate(expectation.derivation):
        if sign.isdigit():
            other = str(int(sign) % 9 + 1)
            text = expectation.derivation[:place] + other + expectation.derivation[place + 1 :]
            wrong.append(expect(expectation.measure, expectation.key, text, expectation.relation))
    return wrong


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
