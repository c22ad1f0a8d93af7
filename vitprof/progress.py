"""How long work says what it is doing."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]  # is told what is being done


def quiet(message: str) -> None:
    """Say nothing."""
