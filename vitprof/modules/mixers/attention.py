"""Multi-head self-attention; the equations stand in `vitprof.formulas.mixers.attention`."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vitprof.modules.matmul import MatMul


class FusedAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V in one kernel, where the platform has one."""

    def forward(self, q_BHNC: Tensor, k_BHNC: Tensor, v_BHNC: Tensor) -> Tensor:
        return scaled_dot_product_attention(q_BHNC, k_BHNC, v_BHNC)


class Attention(nn.Module):
    """Multi-head self-attention, with explicit products or fused."""

    def __init__(self, dim: int, heads: int, *, fused: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.fused = fused
        self.qkv = nn.Linear(dim, 3 * dim)
        if fused:
            self.attend = FusedAttention()
        else:
            self.scores = MatMul()
            self.weights = nn.Softmax(dim=-1)
            self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        qkv = self.qkv(x_BND).reshape(B, N, 3, self.heads, D // self.heads)
        q_BHNC, k_BHNC, v_BHNC = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y_BHNC = self.attend(q_BHNC, k_BHNC, v_BHNC)
        else:
            q_BHNC = q_BHNC * (D // self.heads) ** -0.5
            a_BHNN = self.weights(self.scores(q_BHNC, k_BHNC.transpose(-2, -1)))
            y_BHNC = self.output(a_BHNN, v_BHNC)
        return self.fc_out(y_BHNC.transpose(1, 2).reshape(B, N, D))
