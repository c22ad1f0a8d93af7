"""Patches of images, and position embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def patchify(image_BCHW: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches, row by row: (B, patches, patch * patch * C)."""
    B, C, H, W = image_BCHW.shape
    rows, columns, p = H // patch_size, W // patch_size, patch_size
    grid = image_BCHW.reshape(B, C, rows, p, columns, p)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(B, rows * columns, p * p * C)


def make_positions(
    kind: str, grid: tuple[int, int], dim: int, *, prefix_tokens: int
) -> nn.Parameter | None:
    """Return the parameter of a position embedding; None if `kind` has none.

    Args:
        kind: `learned` or `fixed`, which have one, or another.
        grid: rows and columns of patches.
        dim: channels.
        prefix_tokens: number of prefix tokens that have positions too.

    Returns:
        (1, prefix_tokens + rows * columns, dim)
    """
    if kind not in ("learned", "fixed"):
        return None
    if kind == "fixed":
        return nn.Parameter(
            sincos_positions(grid, dim, prefix_tokens=prefix_tokens), requires_grad=False
        )
    rows, columns = grid
    learned = nn.Parameter(torch.zeros(1, prefix_tokens + rows * columns, dim))
    nn.init.normal_(learned, std=0.02)
    return learned


def sincos_positions(grid: tuple[int, int], dim: int, *, prefix_tokens: int = 1) -> Tensor:
    """Return sines and cosines of a grid's two coordinates (He et al. 2021).

    Sine and cosine of the column and of the row have a quarter of the channels each, at
    wavelengths from 2 pi to 10000 * 2 pi (Vaswani et al. 2017, section 3.5). Prefix tokens
    come first, with zeros.

    Args:
        grid: rows and columns of patches.
        dim: channels, divisible by 4.
        prefix_tokens: number of tokens before the patches.

    Returns:
        (1, prefix_tokens + rows * columns, dim)
    """
    rows, columns = grid
    of_rows = _waves(rows, dim)[:, None, :].expand(-1, columns, -1)
    of_columns = _waves(columns, dim)[None, :, :].expand(rows, -1, -1)
    table = torch.cat([of_columns, of_rows], dim=2).reshape(rows * columns, dim)
    return torch.cat([torch.zeros(prefix_tokens, dim), table])[None].to(torch.get_default_dtype())


def _waves(positions: int, dim: int) -> Tensor:
    """Return sines and cosines of the positions along an axis: (positions, dim / 2)."""
    quarter = dim // 4
    frequency = 10000 ** -(torch.arange(quarter, dtype=torch.float32) / quarter)
    angle = torch.arange(positions)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
