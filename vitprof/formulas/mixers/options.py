"""Options of several mixers, declared once."""

from __future__ import annotations

from typing import Any

from vitprof.values.options import flag, needing, whole


def qkv_bias_option() -> Any:
    """Declare the bias of the layer that computes queries, keys and values."""
    return flag(True, help="bias of queries, keys and values")


def key_bias_option() -> Any:
    """Declare the bias of the keys, which does not change a softmax over the keys."""
    return needing(
        flag(True, help="bias of the keys; without it, queries, keys and values are three layers"),
        {"qkv_bias": (True,)},
    )


def fused_option() -> Any:
    """Declare a fused kernel of attention."""
    return flag(False, help="scaled_dot_product_attention in place of explicit products")


def causal_option() -> Any:
    """Declare that a token reads no token after it."""
    return flag(False, help="one direction, in which a token reads those before it only")


def expand_option() -> Any:
    """Declare the inner channels of a mixer as a multiple of the dim."""
    return whole(
        2,
        symbol="expand",
        maximum=1_000,
        help="inner channels of the mixer divided by dim",
        grows=64,
        convex=True,
    )


def proj_bias_option() -> Any:
    """Declare the bias of the layer that computes the output."""
    return flag(True, help="bias of the output projection")
