"""Cross-covariance attention; `vitprof.formulas.mixers.xca` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul
from vitprof.modules.parts.norms import LayerScale


def normalised(x: Tensor) -> Tensor:
    """Divide x by its L2 norm along the last axis, which is at least 1e-12."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-12)


class PatchInteraction(nn.Module):
    """Two depthwise 3 x 3 convolutions, GELU and BatchNorm between, on the grid of the tokens."""

    def __init__(self, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.act = nn.GELU()
        self.norm = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, z_BND: Tensor) -> Tensor:
        z_BDRC = self.conv1(z_BND.transpose(1, 2).unflatten(2, self.grid))
        z_BDRC = self.act(z_BDRC)
        z_BDRC = self.norm(z_BDRC)
        return self.conv2(z_BDRC).flatten(2).transpose(1, 2)


class CrossCovarianceAttention(nn.Module):
    """Cross-covariance attention, with an optional local patch interaction."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        patch_interaction: bool = False,
        local_scale: bool = False,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.scores = MatMul()
        self.weights = nn.Softmax(dim=-1)
        self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)
        self.local = self.local_scale = None
        if patch_interaction:
            assert grid is not None
            self.local_norm = nn.LayerNorm(dim, eps=1e-6)
            self.local = PatchInteraction(dim, grid)
        if local_scale:
            self.local_scale = LayerScale(dim)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        qkv = self.qkv(x_BND).reshape(B, N, 3, self.heads, D // self.heads)
        qkv = qkv.permute(2, 0, 3, 4, 1).contiguous()
        q_BHCN, k_BHCN, v_BHCN = qkv.unbind(0)
        q_BHCN = normalised(q_BHCN)
        k_BHCN = normalised(k_BHCN)
        a_BHCC = self.scores(q_BHCN, k_BHCN.transpose(-2, -1))
        a_BHCC = a_BHCC * self.temperature
        y_BND = self.output(self.weights(a_BHCC), v_BHCN).flatten(1, 2).transpose(1, 2).contiguous()
        y_BND = self.fc_out(y_BND)
        if self.local is None:
            return y_BND
        z_BND = self.local(self.local_norm(y_BND))
        if self.local_scale is not None:
            z_BND = self.local_scale(z_BND)
        return y_BND + z_BND
