"""Docstrings that are printed are read from the source if Python strips them (-OO)."""

from __future__ import annotations

import subprocess
import sys

import pytest
from commands import Capture, printed

from vitprof.cli import COMMANDS


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fix the width of both processes."""
    monkeypatch.setenv("COLUMNS", "80")


def optimised(*words: str) -> str:
    """Return the output of a command line whose process has no docstrings."""
    command = [sys.executable, "-OO", "-X", "utf8", "-m", "vitprof", *words]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout


def test_equations_are_shown(capsys: Capture) -> None:
    words = ("mixers", "linear", "--counters=analytic")
    assert optimised(*words) == printed(capsys, *words)


def test_help_is_shown(capsys: Capture) -> None:
    said = optimised("--help")
    assert said == printed(capsys, "--help")
    assert all(command in said for command in COMMANDS)
    assert optimised("memory", "--help") == printed(capsys, "memory", "--help")
