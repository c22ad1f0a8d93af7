"""Patches of images, and position embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from operator import mul
from typing import Any

import torch
from torch import Tensor, nn


def patchify(image_BCHW: Tensor, patch: Sequence[int]) -> Tensor:
    """Cut images, or videos (B, C, T, H, W), into patches of these sides along each axis.

    Returns:
        (B, patches, patch * patch * C), row by row.
    """
    B, C, *sides = image_BCHW.shape
    grid = [side // p for side, p in zip(sides, patch, strict=True)]
    cut = [size for axis in zip(grid, patch, strict=True) for size in axis]
    places, within = range(2, len(cut) + 2, 2), range(3, len(cut) + 3, 2)
    x = image_BCHW.reshape(B, C, *cut).permute(0, *places, *within, 1)
    return x.reshape(B, reduce(mul, grid), prod(patch) * C)


def make_conv(
    channels: int, dim: int, kernel: Sequence[int], stride: Sequence[int], *, bias: bool
) -> nn.Module:
    """Return a convolution of images (B, C, H, W), or along three axes of videos."""
    kind: Any = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
    made: nn.Module = kind(channels, dim, tuple(kernel), stride=tuple(stride), bias=bias)
    return made


def make_positions(
    kind: str, grid: tuple[int, ...], dim: int, *, prefix_tokens: int
) -> nn.Parameter | None:
    """Return the parameter of a position embedding; None if `kind` has none.

    Args:
        kind: `learned` or `fixed`, which have one, or another.
        grid: patches along each axis: rows and columns, before them those in time of a video.
        dim: channels.
        prefix_tokens: number of prefix tokens that have positions too.

    Returns:
        (1, prefix_tokens + patches, dim)
    """
    if kind not in ("learned", "fixed"):
        return None
    if kind == "fixed":
        fixed = (
            sincos_positions((grid[0], grid[1]), dim, prefix_tokens=prefix_tokens)
            if len(grid) == 2
            else sequence_positions(prod(grid), dim, prefix_tokens=prefix_tokens)
        )
        return nn.Parameter(fixed, requires_grad=False)
    learned = nn.Parameter(torch.zeros(1, prefix_tokens + prod(grid), dim))
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


def sequence_positions(patches: int, dim: int, *, prefix_tokens: int = 0) -> Tensor:
    """Return sines and cosines of the place in a sequence (Vaswani et al. 2017, section 3.5).

    Channels 2i and 2i + 1 are sine and cosine of place / 10000^(2i / dim). Prefix tokens come
    first, with zeros.

    Returns:
        (1, prefix_tokens + patches, dim)
    """
    channel = torch.arange(dim)
    frequency = 10000 ** -((channel // 2 * 2).to(torch.float32) / dim)
    angle = torch.arange(patches)[:, None] * frequency
    table = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
    return torch.cat([torch.zeros(prefix_tokens, dim), table])[None].to(torch.get_default_dtype())


def _waves(positions: int, dim: int) -> Tensor:
    """Return sines and cosines of the positions along an axis: (positions, dim / 2)."""
    quarter = dim // 4
    frequency = 10000 ** -(torch.arange(quarter, dtype=torch.float32) / quarter)
    angle = torch.arange(positions)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
