"""Rotary position embedding; `vitprof.formulas.parts.rotary` gives the equation."""

from __future__ import annotations

import torch
from torch import Tensor


def angles(tokens: int, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of each token times each frequency, (N, frequencies)."""
    turned = torch.outer(torch.arange(tokens, dtype=frequencies.dtype), frequencies)
    return turned.cos(), turned.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs of channels, one of each half of the last axis of (..., N, d)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
