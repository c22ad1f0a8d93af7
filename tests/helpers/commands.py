"""Command lines run in this process: what they print, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from vitprof.cli import run

Capture = pytest.CaptureFixture[str]


def changed(words: Iterable[str], *others: str) -> tuple[str, ...]:
    """Return a command line with some options given anew, each of them once."""
    names = {other.partition("=")[0] for other in others}
    return (*(word for word in words if word.partition("=")[0] not in names), *others)


def printed(capsys: Capture, *words: str, code: int = 0) -> str:
    """Return the output of a command line."""
    assert run(words) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out


def document(capsys: Capture, *words: str) -> Any:
    """Return the JSON that a command line prints."""
    return json.loads(printed(capsys, *words, "--format=json"))


def refused(capsys: Capture, *words: str, code: int = 2) -> str:
    """Run a command line that is refused; return the line on stderr."""
    assert run(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vitprof: ")
    assert err.count("\n") == 1
    return err


def said(capsys: Capture, *words: str) -> str:
    """Run a command line that is refused; return its error sentence."""
    return refused(capsys, *words).removeprefix("vitprof: ").rstrip("\n")
