"""Options that several mixers have, declared once."""

from __future__ import annotations

from typing import Any

from vitprof.values.options import flag


def qkv_bias_option() -> Any:
    """Declare whether the layer that makes queries, keys and values has a bias."""
    return flag(True, help="bias of queries, keys and values")
