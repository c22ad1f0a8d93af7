"""Gated MLP; `vitprof.formulas.mixers.gmlp` gives the equations."""

from __future__ import annotations

from torch import Tensor, nn


class GatedMlp(nn.Module):
    """An MLP on each token, half of it gated by a linear layer across tokens."""

    def __init__(self, dim: int, *, tokens: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.norm = nn.LayerNorm(hidden // 2)
        self.spatial = nn.Linear(tokens, tokens)
        self.fc2 = nn.Linear(hidden // 2, dim)
        # As in the paper, the gate is initially 1.
        nn.init.normal_(self.spatial.weight, std=1e-6)
        nn.init.ones_(self.spatial.bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        u_BNG, v_BNG = self.act(self.fc1(x_BND)).chunk(2, dim=-1)
        # A linear layer on a tensor that is not contiguous adds its bias in a separate kernel.
        gate_BGN = self.spatial(self.norm(v_BNG).transpose(1, 2).contiguous())
        return self.fc2(u_BNG * gate_BGN.transpose(1, 2))
