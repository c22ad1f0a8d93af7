"""Attention in one kernel as a module, so that every tool can list it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class FusedAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V, in one kernel if the platform has one."""

    def forward(self, q_BHNC: Tensor, k_BHNC: Tensor, v_BHNC: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q_BHNC, k_BHNC, v_BHNC)
