"""Options of several mixers, declared once."""

from __future__ import annotations

from typing import Any

from vitprof.values.options import flag


def qkv_bias_option() -> Any:
    """Declare the bias of the layer that computes queries, keys and values."""
    return flag(True, help="bias of queries, keys and values")
