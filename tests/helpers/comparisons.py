"""Comparisons of three small mixers: command lines, and a report in all detail."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from commands import Capture, refused
from rich.console import Console

import vitprof
from vitprof.report.compare import Comparison

SIZES: dict[str, Any] = {"tokens": 49, "dim": 12, "heads": 3}
NAMES = ["attn", "lambda", "pool"]
WORDS = ("compare", "--tokens=49", "--dim=12", "--heads=3", "--mixers=attn,lambda,pool")
SHORT = (*WORDS, "--up-to=20")


def said(capsys: Capture, *words: str) -> str:
    """Run a command line that is refused; return its error sentence."""
    return refused(capsys, "compare", *words)


@pytest.fixture(scope="module")
def report() -> Comparison:
    return vitprof.compare(
        "layer", mixers=["linear", *NAMES], gpu="h100", layers=True, up_to=200, **SIZES
    )


def table(report: Comparison, width: int) -> list[str]:
    text = StringIO()
    Console(file=text, width=width).print(report)
    return [line.rstrip() for line in text.getvalue().splitlines()]
