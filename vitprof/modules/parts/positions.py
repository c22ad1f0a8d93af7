"""Fourier positions; `vitprof.formulas.parts.positions` gives their equation."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from vitprof.formulas.parts.positions import PER_AXIS


class FourierPositions(nn.Module):
    """Adds sines and cosines of a grid, mapped to the channels of the tokens, to (B, N, D)."""

    waves: Tensor

    def __init__(self, grid: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(2 * PER_AXIS, dim, 1)
        self.register_buffer("waves", waves(grid), persistent=False)

    def forward(self, x_BND: Tensor) -> Tensor:
        return x_BND + self.proj(self.waves).flatten(2).transpose(1, 2)


def waves(grid: tuple[int, int]) -> Tensor:
    """Return sines and cosines of a grid's coordinates: (1, 64, rows, columns), rows first."""
    rows, columns = grid
    of_rows = _of_axis(rows)[:, :, None].expand(-1, -1, columns)
    of_columns = _of_axis(columns)[:, None, :].expand(-1, rows, -1)
    return torch.cat([of_rows, of_columns])[None].to(torch.get_default_dtype())


def _of_axis(number: int) -> Tensor:
    """Return sines and cosines of the places along an axis: (32, number)."""
    place = torch.arange(1, number + 1, dtype=torch.float32) / (number + 1e-6) * 2 * pi
    pair = torch.arange(PER_AXIS, dtype=torch.float32).div(2, rounding_mode="floor")
    angle = place / 10000 ** (2 * pair / PER_AXIS)[:, None]
    return torch.stack([angle[0::2].sin(), angle[1::2].cos()], dim=1).flatten(0, 1)
