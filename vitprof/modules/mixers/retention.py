"""Multi-scale retention; `vitprof.formulas.mixers.retention` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul
from vitprof.modules.parts.rotary import angles, rotate


class Retention(nn.Module):
    """Retention in its parallel form, in both directions or causal.

    More axes of tensors: E channels of the values, V of them for each head.
    """

    cosines: Tensor
    sines: Tensor
    distances: Tensor
    rates: Tensor

    def __init__(
        self, dim: int, heads: int, *, tokens: int, expand: int = 2, causal: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        width, head_dim = expand * dim, dim // heads
        cosines, sines = angles(tokens, 10_000 ** -torch.linspace(0, 1, head_dim // 2))
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        self.register_buffer("distances", distances(tokens, causal=causal), persistent=False)
        gammas_H11 = 1 - 2.0 ** (-5 - torch.arange(heads)[:, None, None])
        self.register_buffer("rates", gammas_H11.log(), persistent=False)
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, width, bias=False)
        self.scores = MatMul()
        self.output = MatMul()
        self.norm = nn.RMSNorm(width // heads, eps=1e-5, elementwise_affine=False)
        self.gate = nn.Linear(dim, width, bias=False)
        self.act = nn.SiLU()
        self.fc_out = nn.Linear(width, dim, bias=False)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, C = self.heads, D // self.heads
        q_BHNC = self.q(x_BND).reshape(B, N, H, C).transpose(1, 2)
        k_BND = self.k(x_BND) * C**-0.5
        k_BHNC = k_BND.reshape(B, N, H, C).transpose(1, 2)
        del k_BND
        v_BNHV = self.v(x_BND).reshape(B, N, H, -1)
        q_BHNC = rotate(q_BHNC, self.cosines, self.sines)
        k_BHNC = rotate(k_BHNC, self.cosines, self.sines)
        decay_HNN = (self.distances * self.rates).exp()
        r_BHNN = self.scores(q_BHNC, k_BHNC.transpose(-2, -1)) * decay_HNN
        y_BHNV = self.norm(self.output(r_BHNN, v_BNHV.transpose(1, 2)))
        y_BNE = y_BHNV.transpose(1, 2).reshape(B, N, -1)
        del y_BHNV
        gate_BNE = self.act(self.gate(x_BND))
        return self.fc_out(gate_BNE * y_BNE)


def distances(tokens: int, *, causal: bool) -> Tensor:
    """Return |n - m| of each pair of tokens, (N, N); infinite for a later m if causal."""
    at = torch.arange(tokens, dtype=torch.get_default_dtype())
    apart = at[:, None] - at
    return apart.masked_fill(apart < 0, torch.inf) if causal else apart.abs()
