"""A neck; `vitprof.formulas.parts.neck` describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.modules.parts.norms import make_norm

if TYPE_CHECKING:
    from vitprof.formulas.parts.neck import NeckOptions


class Neck(nn.Module):
    """Convolutions of 1 x 1 and 3 x 3 on patches of a grid, with norms: (B, N, D) to (B, N, K).

    Args:
        options: the neck's options: its channels and its norm.
        dim: channels of a patch.
        grid: rows and columns of patches.
    """

    def __init__(self, options: NeckOptions, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        channels = options.neck
        self.grid = grid
        self.conv1 = nn.Conv2d(dim, channels, 1, bias=False)
        self.norm1 = make_norm(options, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = make_norm(options, channels)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
            x = x.transpose(1, 2).unflatten(2, self.grid)
            x = conv(x)
            x = x.flatten(2).transpose(1, 2)
            x = norm(x)
        return x
