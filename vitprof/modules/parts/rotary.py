"""Rotary position embedding; `vitprof.formulas.parts.rotary` gives the equations.

More axes of tensors: P patches, F half of the channels of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

TEMPERATURE = 100.0  # by which the frequencies of axial positions fall (DINOv3; RoPE-ViT)


def angles(tokens: int, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of each token times each frequency, (N, frequencies)."""
    turned = torch.outer(torch.arange(tokens, dtype=frequencies.dtype), frequencies)
    return turned.cos(), turned.sin()


class AxialAngles(nn.Module):
    """Cosines and sines of fixed angles: half of the pairs by rows, half by columns."""

    cosines: Tensor
    sines: Tensor

    def __init__(self, head_dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        frequencies = TEMPERATURE ** -(torch.arange(head_dim // 4) / (head_dim // 4))
        row_P1, column_P1 = places(grid)
        t_PF = torch.cat([row_P1 * frequencies, column_P1 * frequencies], dim=-1)
        self.register_buffer("cosines", t_PF.cos(), persistent=False)
        self.register_buffer("sines", t_PF.sin(), persistent=False)

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.cosines, self.sines


class MixedAngles(nn.Module):
    """Cosines and sines of angles by learned frequencies of each head."""

    row: Tensor
    column: Tensor

    def __init__(self, heads: int, head_dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        row_P1, column_P1 = places(grid)
        self.register_buffer("row", row_P1, persistent=False)
        self.register_buffer("column", column_P1, persistent=False)
        self.of_row = nn.Parameter(torch.empty(heads, 1, head_dim // 2))
        self.of_column = nn.Parameter(torch.empty(heads, 1, head_dim // 2))
        nn.init.normal_(self.of_row, std=0.1)
        nn.init.normal_(self.of_column, std=0.1)

    def forward(self) -> tuple[Tensor, Tensor]:
        t_HPF = self.row * self.of_row + self.column * self.of_column
        return t_HPF.cos(), t_HPF.sin()


def places(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return row and column of each patch, (P, 1) each."""
    rows, columns = (torch.arange(side, dtype=torch.get_default_dtype()) for side in grid)
    return rows.repeat_interleave(len(columns))[:, None], columns.repeat(len(rows))[:, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs of channels, one of each half of the last axis of (..., N, d)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def rotate_patches(x: Tensor, tables: tuple[Tensor, ...], like: Tensor, prefix: int) -> Tensor:
    """Rotate queries or keys; the first `prefix` tokens stay as they are.

    Args:
        x: (B, H, N, C), or (B, H, N, R, C) if R heads share a key.
        tables: cosines and sines, (P, F) or (H, P, F) each.
        like: tensor in whose dtype the result is.
        prefix: number of prefix tokens.
    """
    cos, sin = tables
    if x.ndim == 5:
        cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    patches = x[:, :, prefix:] if prefix else x
    rotated = rotate(patches, cos, sin)
    if prefix:
        rotated = torch.cat([x[:, :, :prefix], rotated], dim=2)
    return rotated.type_as(like)
