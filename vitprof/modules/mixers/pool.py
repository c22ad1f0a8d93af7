"""Average pooling; `vitprof.formulas.mixers.pool` gives the equation."""

from __future__ import annotations

from torch import Tensor, nn


class Pool(nn.Module):
    """The mean of a token's neighbours on a grid of rows and columns, minus the token."""

    def __init__(self, dim: int, heads: int, *, grid: tuple[int, int], pool_size: int = 3) -> None:
        super().__init__()
        self.grid = grid
        self.pool = nn.AvgPool2d(
            pool_size, stride=1, padding=pool_size // 2, count_include_pad=False
        )

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BDRC = x_BND.transpose(1, 2).unflatten(2, self.grid)
        y_BDRC = self.pool(x_BDRC) - x_BDRC
        return y_BDRC.flatten(2).transpose(1, 2)
