"""The q-shift of Vision-RWKV; see `vitprof.formulas.parts.shift`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
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


def mixes(dim: int, number: int) -> Iterator[nn.Parameter]:
    """Yield the learned shares of tokens in sums with their q-shift, at first a half."""
    for _ in range(number):
        yield nn.Parameter(torch.full((1, 1, dim), 0.5))


def mixed(x_BND: Tensor, grid: tuple[int, int], shares: Sequence[Tensor]) -> list[Tensor]:
    """Return the sum of x and of its q-shift for each share of x."""
    shifted_BND = q_shift(x_BND, grid)
    moved_BND = x_BND - shifted_BND
    return [shifted_BND + moved_BND * share for share in shares]
