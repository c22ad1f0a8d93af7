"""Attention within windows; `vitprof.formulas.mixers.window` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitprof.modules.matmul import MatMul
from vitprof.modules.parts.relative import DecomposedBias


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows of a grid, with relative positions.

    More axes of tensors: R rows and S columns of windows, W tokens along a side of a window,
    M tokens of a window and P windows of an image. Without an axis in their names are images of
    tokens, which may be padded.
    """

    relative_index: Tensor

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        grid: tuple[int, int],
        window: int = 7,
        window_pad: bool = False,
        window_relative: str = "table",
        qkv_bias: bool = True,
        proj_bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.grid = grid
        self.window = window
        self.padded = tuple(-(-side // window) * window if window_pad else side for side in grid)
        self.kind = window_relative
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        if window_relative == "decomposed":
            self.relative = DecomposedBias(dim // heads, (window, window), axis=3)
        self.scores = MatMul()
        self.weights = nn.Softmax(dim=-1)
        self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)
        if window_relative == "table":
            self.relative_bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
            self.register_buffer("relative_index", relative_index(window), persistent=False)
            nn.init.normal_(self.relative_bias, std=0.02)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, C, W = self.heads, D // self.heads, self.window
        rows, columns = self.grid
        R, S = (side // W for side in self.padded)
        P, M = R * S, W * W
        pads, x = self.padded != self.grid, x_BND
        if pads:
            x = x.reshape(B, rows, columns, D)
            x = F.pad(x, (0, 0, 0, S * W - columns, 0, R * W - rows))
        x = x.reshape(B, R, W, S, W, D).transpose(2, 3).reshape(B, P * M, D)
        qkv = self.qkv(x).reshape(B, P, M, 3, H, C)
        q_BPHMC, k_BPHMC, v_BPHMC = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        unscaled = q_BPHMC
        q_BPHMC = q_BPHMC * C**-0.5
        bias = self._bias(unscaled)
        a_BPHMM = self.scores(q_BPHMC, k_BPHMC.transpose(-2, -1))
        if bias is not None:
            a_BPHMM = a_BPHMM + bias
        a_BPHMM = self.weights(a_BPHMM)
        y_BPHMC = self.output(a_BPHMM, v_BPHMC)
        y = self.fc_out(y_BPHMC.transpose(2, 3).reshape(B, P * M, D))
        y = y.reshape(B, R, S, W, W, D).transpose(2, 3)
        if pads:
            y = y.reshape(B, R * W, S * W, D)[:, :rows, :columns]
        return y.reshape(B, N, D)

    def _bias(self, q_BPHMC: Tensor) -> Tensor | None:
        """Return the relative position bias, (H, M, M), or (B, P, H, M, M) if it is decomposed."""
        if self.kind == "none":
            return None
        if self.kind == "decomposed":
            return self.relative(q_BPHMC)
        return self.relative_bias[self.relative_index].permute(2, 0, 1)


def relative_index(window: int) -> Tensor:
    """Return the row of the bias table for each pair of tokens of a window, (W * W, W * W)."""
    at = torch.arange(window)
    apart = at[:, None] - at + window - 1
    rows = apart[:, None, :, None] * (2 * window - 1)
    return (rows + apart[None, :, None, :]).reshape(window**2, window**2)
