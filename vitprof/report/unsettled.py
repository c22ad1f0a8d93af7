"""Measured times whose spread stayed above its bound, in words."""

from __future__ import annotations

from collections.abc import Mapping

_MOST = 6  # times that are named


def spreads(unsettled: Mapping[str, float]) -> str:
    """Return the spreads of times, by name: `interquartile range over median: attn 50%`."""
    named = [f"{name} {spread:.0%}" for name, spread in [*unsettled.items()][:_MOST]]
    more = [f"{len(unsettled) - _MOST:,} more"] if len(unsettled) > _MOST else []
    return f"interquartile range over median: {'; '.join([*named, *more])}"
