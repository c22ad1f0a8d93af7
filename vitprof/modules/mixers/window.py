"""Attention within windows; `vitprof.formulas.mixers.window` gives the equations."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitprof.modules.matmul import MatMul
from vitprof.modules.parts.norms import normalised
from vitprof.modules.parts.relative import BoundedBiasMlp, DecomposedBias

_MOST = log(100)  # of the logarithm of a scale of cosines


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows of a grid, with relative positions.

    More axes of tensors: R rows and S columns of windows, W tokens along a side of a window,
    M tokens of a window and P windows of an image. Without an axis in their names are images of
    tokens, which may be padded.
    """

    relative_index: Tensor
    shift_mask: Tensor

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        grid: tuple[int, int],
        window: int = 7,
        window_pad: bool = False,
        window_shift: tuple[int, int] = (0, 0),
        window_relative: str = "table",
        window_hidden: int = 512,
        window_cosine: bool = False,
        qkv_bias: bool = True,
        key_bias: bool = True,
        proj_bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.grid = grid
        self.window = window
        self.padded = tuple(-(-side // window) * window if window_pad else side for side in grid)
        self.moved = tuple(axis for axis, shift in enumerate(window_shift, 1) if shift)
        self.by = tuple(shift for shift in window_shift if shift)
        self.kind = window_relative
        self.relative: nn.Module
        self.together, self.cosine = key_bias or not qkv_bias, window_cosine
        if self.together:
            self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        else:
            self.q, self.k, self.v = (nn.Linear(dim, dim, bias=name != "k") for name in "qkv")
        if window_relative == "decomposed":
            self.relative = DecomposedBias(dim // heads, (window, window), axis=3)
        elif window_relative == "mlp":
            self.relative = BoundedBiasMlp(heads, (window, window), window_hidden)
        self.scores = MatMul()
        self.weights = nn.Softmax(dim=-1)
        self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)
        if window_relative == "table":
            self.relative_bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
            self.register_buffer("relative_index", relative_index(window), persistent=False)
            nn.init.normal_(self.relative_bias, std=0.02)
        if window_cosine:
            self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), log(10)))
        if self.moved:
            mask = shift_mask(grid, self.padded, window, window_shift)
            self.register_buffer("shift_mask", mask, persistent=False)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, C, W = self.heads, D // self.heads, self.window
        rows, columns = self.grid
        R, S = (side // W for side in self.padded)
        P, M = R * S, W * W
        pads, x = self.padded != self.grid, x_BND
        if self.moved or pads:
            x = x.reshape(B, rows, columns, D)
        if self.moved:
            x = x.roll([-shift for shift in self.by], self.moved)
        if pads:
            x = F.pad(x, (0, 0, 0, S * W - columns, 0, R * W - rows))
        x = x.reshape(B, R, W, S, W, D).transpose(2, 3).reshape(B, P * M, D)
        q_BPHMC, k_BPHMC, v_BPHMC = self._projected(x, (B, P, M, H, C))
        a_BPHMM = self._scores(q_BPHMC, k_BPHMC)
        del q_BPHMC, k_BPHMC
        if self.moved:
            a_BPHMM = a_BPHMM + self.shift_mask.unsqueeze(1)
        a_BPHMM = self.weights(a_BPHMM)
        y_BPHMC = self.output(a_BPHMM, v_BPHMC)
        y = self.fc_out(y_BPHMC.transpose(2, 3).reshape(B, P * M, D))
        y = y.reshape(B, R, S, W, W, D).transpose(2, 3)
        if self.moved or pads:
            y = y.reshape(B, R * W, S * W, D)
        if pads:
            y = y[:, :rows, :columns]
        if self.moved:
            y = y.roll(self.by, self.moved)
        return y.reshape(B, N, D)

    def _projected(
        self, x: Tensor, each: tuple[int, int, int, int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, (B, P, H, M, C)."""
        B, P, M, H, C = each
        if self.together:
            qkv = self.qkv(x).reshape(B, P, M, 3, H, C)
            q_BPHMC, k_BPHMC, v_BPHMC = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
            return q_BPHMC, k_BPHMC, v_BPHMC
        q = self.q(x)
        k = self.k(x)
        v = self.v(x)
        q_BPHMC = q.reshape(each).transpose(2, 3)
        k_BPHMC = k.reshape(each).transpose(2, 3)
        return q_BPHMC, k_BPHMC, v.reshape(each).transpose(2, 3)

    def _scores(self, q_BPHMC: Tensor, k_BPHMC: Tensor) -> Tensor:
        unscaled = q_BPHMC
        if self.cosine:
            q_BPHMC = normalised(q_BPHMC)
            k_BPHMC = normalised(k_BPHMC)
            bias = self._bias(unscaled)
            a_BPHMM = self.scores(q_BPHMC, k_BPHMC.transpose(-2, -1))
            a_BPHMM = a_BPHMM * self.logit_scale.clamp(max=_MOST).exp()
        else:
            q_BPHMC = q_BPHMC * q_BPHMC.shape[-1] ** -0.5
            bias = self._bias(unscaled)
            a_BPHMM = self.scores(q_BPHMC, k_BPHMC.transpose(-2, -1))
        return a_BPHMM if bias is None else a_BPHMM + bias

    def _bias(self, q_BPHMC: Tensor) -> Tensor | None:
        """Return the relative position bias, (H, M, M), or (B, P, H, M, M) if it is decomposed."""
        if self.kind == "none":
            return None
        if self.kind == "decomposed":
            return self.relative(q_BPHMC)
        if self.kind == "mlp":
            return self.relative()
        return self.relative_bias[self.relative_index].permute(2, 0, 1)


def shift_mask(
    grid: tuple[int, int], padded: tuple[int, ...], window: int, shifts: tuple[int, int]
) -> Tensor:
    """Return the mask of windows whose tokens come from opposite sides of the image, (P, M, M).

    It is 0 for two tokens of one region, and else -100.

    Args:
        grid: rows and columns of the grid.
        padded: the same with those of zeros behind it.
        window: side of a window.
        shifts: by how much rows and columns are moved.
    """
    regions = [
        torch.arange(whole) >= (side - shift if shift else whole)
        for side, whole, shift in zip(grid, padded, shifts, strict=True)
    ]
    region = regions[0][:, None] * 2 + regions[1][None].long()
    R, S = (side // window for side in padded)
    region_PM = region.reshape(R, window, S, window).transpose(1, 2).reshape(R * S, window**2)
    apart = region_PM[:, :, None] != region_PM[:, None, :]
    return apart.to(torch.get_default_dtype()) * -100.0


def relative_index(window: int) -> Tensor:
    """Return the row of the bias table for each pair of tokens of a window, (W * W, W * W)."""
    at = torch.arange(window)
    apart = at[:, None] - at + window - 1
    rows = apart[:, None, :, None] * (2 * window - 1)
    return (rows + apart[None, :, None, :]).reshape(window**2, window**2)
