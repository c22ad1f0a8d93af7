"""The q-shift of Vision-RWKV; see `vitprof.formulas.parts.shift`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Padding of rows and columns, the last axes first, by which a patch is moved.
_MOVES = (
    (0, 0, 1, -1),
    (0, 0, -1, 1),
    (0, 0, 0, 0, 1, -1),
    (0, 0, 0, 0, -1, 1),
)


def q_shift(x_BND: Tensor, grid: tuple[int, int]) -> Tensor:
    """Move each quarter of the channels one patch right, left, down and up."""
    B, N, D = x_BND.shape
    quarter = D // 4
    widths = [width for width in (*4 * [quarter], D - 4 * quarter) if width]
    parts = x_BND.reshape(B, *grid, D).split(widths, dim=-1)
    moves = _MOVES if quarter else ()
    moved = [F.pad(part, move) for move, part in zip(moves, parts, strict=False)]
    return torch.cat([*moved, *parts[len(moved) :]], dim=-1).reshape(B, N, D)
