"""Top-k attention; `vitprof.formulas.mixers.topk_attention` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul


class TopKAttention(nn.Module):
    """Softmax attention to the keys with the highest scores of each query."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        top_k: int = 32,
        qkv_bias: bool = True,
        proj_bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.top_k = top_k
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.scores = MatMul()
        self.weights = nn.Softmax(dim=-1)
        self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        qkv = self.qkv(x_BND).reshape(B, N, 3, self.heads, D // self.heads)
        q_BHNC, k_BHNC, v_BHNC = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q_BHNC = q_BHNC * (D // self.heads) ** -0.5
        a_BHNN = self._masked(self.scores(q_BHNC, k_BHNC.transpose(-2, -1)))
        y_BHNC = self.output(self.weights(a_BHNN), v_BHNC)
        return self.fc_out(y_BHNC.transpose(1, 2).reshape(B, N, D))

    def _masked(self, a_BHNN: Tensor) -> Tensor:
        """Return scores with -inf for all but the k highest of each query."""
        highest_BHNK = a_BHNN.detach().topk(min(self.top_k, a_BHNN.shape[-1]), dim=-1).values
        return a_BHNN.masked_fill(a_BHNN < highest_BHNK[..., -1:], -torch.inf)
