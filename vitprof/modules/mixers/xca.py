"""Cross-covariance attention; `vitprof.formulas.mixers.xca` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul
from vitprof.modules.parts.norms import normalised


class CrossCovarianceAttention(nn.Module):
    """Cross-covariance attention."""

    def __init__(
        self, dim: int, heads: int, *, qkv_bias: bool = True, proj_bias: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.scores = MatMul()
        self.weights = nn.Softmax(dim=-1)
        self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)
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
        return self.fc_out(y_BND)
