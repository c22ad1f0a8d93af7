"""Progress messages of long-running work."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]  # takes a progress message


def quiet(message: str) -> None:
    """Drop the message."""
