"""Depthwise convolution; `vitprof.formulas.mixers.conv` gives the equation."""

from __future__ import annotations

from torch import Tensor, nn


class DepthwiseConv(nn.Module):
    """A depthwise convolution on a grid of rows and columns."""

    def __init__(
        self, dim: int, heads: int, *, grid: tuple[int, int], kernel_size: int = 9
    ) -> None:
        super().__init__()
        self.grid = grid
        self.conv = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BDRC = x_BND.transpose(1, 2).unflatten(2, self.grid)
        return self.conv(x_BDRC).flatten(2).transpose(1, 2)
