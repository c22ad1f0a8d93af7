"""Linear attention; `vitprof.formulas.mixers.linear_attention` gives the equations."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from vitprof.modules.matmul import MatMul


class LinearAttention(nn.Module):
    """Linear attention with the feature map F.elu(x) + 1, not causal."""

    def __init__(
        self, dim: int, heads: int, *, qkv_bias: bool = True, proj_bias: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.key_values = MatMul()
        self.normalizer = MatMul()
        self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        qkv = self.qkv(x_BND).reshape(B, N, 3, self.heads, D // self.heads)
        q_BHNC, k_BHNC, v_BHNC = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q_BHNC, k_BHNC = F.elu(q_BHNC) + 1, F.elu(k_BHNC) + 1
        state_BHCC = self.key_values(k_BHNC.transpose(-2, -1), v_BHNC)
        sums_BHN1 = self.normalizer(q_BHNC, k_BHNC.sum(2).unsqueeze(-1))
        y_BHNC = self.output(q_BHNC, state_BHCC) / sums_BHN1
        return self.fc_out(y_BHNC.transpose(1, 2).reshape(B, N, D))
