"""A neck; `vitprof.formulas.parts.neck` describes it."""

from __future__ import annotations

from torch import Tensor, nn

from vitprof.modules.parts.norms import NORMS


class Neck(nn.Module):
    """Convolutions of 1 x 1 and 3 x 3 on patches of a grid, with norms: (B, N, D) to (B, N, K).

    Args:
        dim: channels of a patch.
        channels: channels that are returned.
        grid: rows and columns of patches.
        norm: a key of `NORMS`.
    """

    def __init__(self, dim: int, channels: int, grid: tuple[int, int], norm: str) -> None:
        super().__init__()
        self.grid = grid
        self.conv1 = nn.Conv2d(dim, channels, 1, bias=False)
        self.norm1 = NORMS[norm](channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = NORMS[norm](channels)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
            x = x.transpose(1, 2).unflatten(2, self.grid)
            x = conv(x)
            x = x.flatten(2).transpose(1, 2)
            x = norm(x)
        return x
