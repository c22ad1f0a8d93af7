"""Gated MLP; the equations stand in `vitprof.formulas.mixers.gmlp`."""

from __future__ import annotations

from torch import Tensor, nn


class GatedMlp(nn.Module):
    """An MLP on each token with a gate that is a linear map of the tokens."""

    def __init__(self, dim: int, *, tokens: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.norm = nn.LayerNorm(hidden // 2)
        self.spatial = nn.Linear(tokens, tokens)
        self.fc2 = nn.Linear(hidden // 2, dim)
        # As in the paper, the gate is 1 at first.
        nn.init.normal_(self.spatial.weight, std=1e-6)
        nn.init.ones_(self.spatial.bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        u_BNG, v_BNG = self.act(self.fc1(x_BND)).chunk(2, dim=-1)
        # Of a tensor that is not contiguous a linear layer adds its bias in a pass of its own.
        gate_BGN = self.spatial(self.norm(v_BNG).transpose(1, 2).contiguous())
        return self.fc2(u_BNG * gate_BGN.transpose(1, 2))
