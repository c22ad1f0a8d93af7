"""Attention within windows; `vitprof.formulas.mixers.window` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows of a grid, with relative positions.

    More axes of tensors: R rows and S columns of windows, W tokens along a side of a window,
    M tokens of a window and P windows of an image.
    """

    relative_index: Tensor

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        grid: tuple[int, int],
        window: int = 7,
        qkv_bias: bool = True,
        proj_bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.grid = grid
        self.window = window
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.scores = MatMul()
        self.weights = nn.Softmax(dim=-1)
        self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)
        self.relative_bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_index", relative_index(window), persistent=False)
        nn.init.normal_(self.relative_bias, std=0.02)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, C, W = self.heads, D // self.heads, self.window
        R, S = (side // W for side in self.grid)
        x_BND = x_BND.reshape(B, R, W, S, W, D).transpose(2, 3).reshape(B, N, D)
        qkv = self.qkv(x_BND).reshape(B, R * S, W * W, 3, H, C)
        q_BPHMC, k_BPHMC, v_BPHMC = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        q_BPHMC = q_BPHMC * C**-0.5
        bias_HMM = self.relative_bias[self.relative_index].permute(2, 0, 1)
        a_BPHMM = self.weights(self.scores(q_BPHMC, k_BPHMC.transpose(-2, -1)) + bias_HMM)
        y_BPHMC = self.output(a_BPHMM, v_BPHMC)
        y_BND = self.fc_out(y_BPHMC.transpose(2, 3).reshape(B, N, D))
        return y_BND.reshape(B, R, S, W, W, D).transpose(2, 3).reshape(B, N, D)


def relative_index(window: int) -> Tensor:
    """Return the row of the bias table for each pair of tokens of a window, (W * W, W * W)."""
    at = torch.arange(window)
    apart = at[:, None] - at + window - 1
    rows = apart[:, None, :, None] * (2 * window - 1)
    return (rows + apart[None, :, None, :]).reshape(window**2, window**2)
