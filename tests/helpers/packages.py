"""Packages with a mixer, written for a test and forgotten after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from vitprof.api.new_mixer import new_mixer
from vitprof.cli import COMMANDS
from vitprof.formulas.mixers import MIXERS

NAME = "swish"
PLACE = "swish.formula:SwishMixer"


@contextmanager
def forgetting(*packages: str) -> Iterator[None]:
    """Forget the mixers and modules of packages when the test is over."""
    for command in COMMANDS:  # which declare the options of the mixers that are there
        import_module(f"vitprof.cli.{command.replace('-', '_')}")
    before = dict(MIXERS)
    try:
        yield
    finally:
        MIXERS.clear()
        MIXERS.update(before)
        for name in [*sys.modules]:
            if name.partition(".")[0] in packages:
                del sys.modules[name]


def write(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: Mapping[str, tuple[str, str]] | None = None,
    *,
    registered: str = f"{NAME} = {PLACE}",
) -> None:
    """Write a new mixer's package, changed in one place a file, and register it as pip does.

    Args:
        folder: folder that is put on the path.
        monkeypatch: puts it there.
        changes: by path in the package, a text that is there and what replaces it.
        registered: lines of the entry points; empty for none.
    """
    for place, text in new_mixer(NAME).items():
        old, new = (changes or {}).get(place, ("", ""))
        assert old in text
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(text.replace(old, new) if old else text, encoding="utf-8")
    if registered:
        about = folder / "swish_pkg-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: swish-pkg\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[vitprof.mixers]\n{registered}\n")
    monkeypatch.syspath_prepend(str(folder))
