"""Inverted separable convolution; `vitprof.formulas.mixers.sepconv` gives its equations."""

from __future__ import annotations

from torch import Tensor, nn

from vitprof.modules.parts.activations import StarReLU


class SeparableConv(nn.Module):
    """Linear layer, StarReLU, depthwise convolution and linear layer on a grid of tokens."""

    def __init__(
        self, *, dim: int, heads: int, expand: int, sepconv_kernel: int, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        self.grid = grid
        inner, kernel = expand * dim, sepconv_kernel
        self.fc1 = nn.Linear(dim, inner, bias=False)
        self.act = StarReLU()
        self.conv = nn.Conv2d(inner, inner, kernel, padding=kernel // 2, groups=inner, bias=False)
        self.fc2 = nn.Linear(inner, dim, bias=False)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BNE = self.fc1(x_BND)
        x_BNE = self.act(x_BNE)
        x_BERC = x_BNE.transpose(1, 2).unflatten(2, self.grid)
        del x_BNE
        x_BERC = self.conv(x_BERC)
        return self.fc2(x_BERC.flatten(2).transpose(1, 2))
