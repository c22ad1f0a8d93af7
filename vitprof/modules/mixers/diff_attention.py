"""Differential attention; `vitprof.formulas.mixers.diff_attention` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul

LAMBDA_INIT = 0.8


class DiffAttention(nn.Module):
    """Softmax attention less a second one, by a learned factor; each of H heads has both.

    More axes of tensors: G is 2 H heads of queries and keys, C their channels.
    """

    def __init__(
        self, dim: int, heads: int, *, qkv_bias: bool = True, proj_bias: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        head_dim = dim // heads // 2
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.scores = MatMul()
        self.weights = nn.Softmax(dim=-1)
        self.output = MatMul()
        self.norm = nn.RMSNorm(2 * head_dim, eps=1e-5)
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)
        self.lambda_q1 = nn.Parameter(0.1 * torch.randn(head_dim))
        self.lambda_k1 = nn.Parameter(0.1 * torch.randn(head_dim))
        self.lambda_q2 = nn.Parameter(0.1 * torch.randn(head_dim))
        self.lambda_k2 = nn.Parameter(0.1 * torch.randn(head_dim))

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, C = self.heads, D // self.heads // 2
        q_BND, k_BND, v_BND = self.qkv(x_BND).chunk(3, dim=-1)
        q_BGNC = q_BND.reshape(B, N, 2 * H, C).transpose(1, 2) * C**-0.5
        k_BGNC = k_BND.reshape(B, N, 2 * H, C).transpose(1, 2)
        v_BHNC = v_BND.reshape(B, N, H, 2 * C).transpose(1, 2)
        weights = self.weights(self.scores(q_BGNC, k_BGNC.transpose(-2, -1)))
        weights = self._difference(weights.reshape(B, H, 2, N, N))
        y_BHNC = self.norm(self.output(weights, v_BHNC))
        y_BHNC = y_BHNC * (1 - LAMBDA_INIT)
        return self.fc_out(y_BHNC.transpose(1, 2).reshape(B, N, D))

    def _difference(self, weights_BH2NN: Tensor) -> Tensor:
        """Return the first weights less lambda times the second: (B, H, N, N)."""
        first_BHNN, second_BHNN = weights_BH2NN.unbind(2)
        one = (self.lambda_q1 * self.lambda_k1).sum(0).exp()
        other = (self.lambda_q2 * self.lambda_k2).sum(0).exp()
        factor = one - other + LAMBDA_INIT
        return first_BHNN - second_BHNN * factor
