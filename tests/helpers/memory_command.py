"""Command lines of `vitprof memory`: small models, and what is printed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import commands
from commands import Capture

SMALL = ("--tokens=11", "--dim=12", "--heads=3", "--batch=3")
DEEP = ("--model=classifier", "--depth=5", "--image-size=8", "--batch=3")
MIB, GIB = 2**20, 2**30
CONTEXT_OF_3090 = 927_793_152  # not measured: the largest that an H100 showed
B, N, D, h, H = 3, 11, 12, 3, 4 * 12  # of SMALL
E = 4
KEPT = {  # elements that each layer of SMALL keeps for the backward pass
    "norm1": B * N * 2,
    "mixer.qkv": B * N * D,
    "mixer.scores": B * N * 2 * D,
    "mixer.weights": B * h * N * N,
    "mixer.output": B * N * D,
    "mixer.fc_out": B * N * D,
    "norm2": B * N * D + B * N * 2,
    "mlp.fc1": B * N * D,
    "mlp.act": B * N * H,
}


def printed(capsys: Capture, *words: str | Path, code: int = 0) -> str:
    return commands.printed(capsys, "memory", *map(str, words), code=code)


def document(capsys: Capture, *words: str) -> Any:
    return commands.document(capsys, "memory", *words)


def unwrapped(table: str) -> str:
    """Return the text of a table as one line."""
    return " ".join(table.split())
