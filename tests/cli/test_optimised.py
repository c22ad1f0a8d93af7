"""Docstrings that are printed are read from the source if Python strips them (-OO)."""

from __future__ import annotations

import subprocess
import sys

from vitprof.cli import COMMANDS


def printed(flag: str, *words: str) -> str:
    command = [sys.executable, flag, "-X", "utf8", "-m", "vitprof", *words]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout


def test_equations_are_shown() -> None:
    words = ("mixers", "linear", "--counters=analytic")
    assert printed("-OO", *words) == printed("-B", *words)


def test_help_is_shown() -> None:
    said = printed("-OO", "--help")
    assert said == printed("-B", "--help")
    assert all(command in said for command in COMMANDS)
    assert printed("-OO", "memory", "--help") == printed("-B", "memory", "--help")
