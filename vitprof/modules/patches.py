"""Images as patches, and where the patches lie."""

from __future__ import annotations

import torch
from torch import Tensor


def patchify(image_BCHW: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches, row by row: (B, patches, patch * patch * C)."""
    B, C, H, W = image_BCHW.shape
    rows, columns, p = H // patch_size, W // patch_size, patch_size
    grid = image_BCHW.reshape(B, C, rows, p, columns, p)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(B, rows * columns, p * p * C)


def sincos_positions(side: int, dim: int) -> Tensor:
    """Sines and cosines of a square grid's two coordinates (He et al. 2021).

    A quarter of the channels each for sine and cosine of the column and of the row,
    at wavelengths from 2 pi to 10000 * 2 pi (Vaswani et al. 2017, section 3.5).
    The class token, which lies nowhere, comes first with zeros.

    Args:
        side: patches along a side of the image.
        dim: channels, divisible by 4.

    Returns:
        (1, side * side + 1, dim)
    """
    quarter = dim // 4
    frequency = 10000 ** -(torch.arange(quarter, dtype=torch.float32) / quarter)
    angle = torch.arange(side)[:, None] * frequency  # (side, quarter)
    wave = torch.cat([angle.sin(), angle.cos()], dim=1)  # (side, dim / 2)
    columns = wave[None, :, :].expand(side, -1, -1)
    rows = wave[:, None, :].expand(-1, side, -1)
    table = torch.cat([columns, rows], dim=2).reshape(side * side, dim)
    return torch.cat([torch.zeros(1, dim), table])[None].to(torch.get_default_dtype())
