"""Gated linear attention; `vitprof.formulas.mixers.gated_linear_attention` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.fourier import exact
from vitprof.modules.matmul import MatMul

TEMPERATURE = 16  # the gates are sigmoids to the power of its reciprocal


class GatedLinearAttention(nn.Module):
    """Gated linear attention in its parallel form, in both directions or causal.

    More axes of tensors: C channels of a head of queries and keys, V those of values, and S
    directions.
    """

    lower: Tensor

    def __init__(
        self, dim: int, heads: int, *, tokens: int, gate_rank: int = 16, causal: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        half, directions = dim // 2, 1 if causal else 2
        self.register_buffer("lower", torch.ones(tokens, tokens).tril(), persistent=False)
        self.q = nn.Linear(dim, half, bias=False)
        self.k = nn.Linear(dim, half, bias=False)
        self.gate_down = nn.Linear(dim, gate_rank, bias=False)
        self.gate_up = nn.Linear(gate_rank, directions * half)
        self.gate_act = nn.Softplus()
        self.scores = MatMul()
        if not causal:
            self.scores_back = MatMul()
        self.v = nn.Linear(dim, dim, bias=False)
        self.output = MatMul()
        self.norm = nn.RMSNorm(dim // heads, eps=1e-5)
        self.gate = nn.Linear(dim, dim, bias=False)
        self.act = nn.SiLU()
        self.fc_out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.gate_up.bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, C = self.heads, D // self.heads // 2
        q_BHNC = self.q(x_BND).reshape(B, N, H, C).transpose(1, 2) * C**-0.5
        k_BHNC = self.k(x_BND).reshape(B, N, H, C).transpose(1, 2)
        p_BHNN = self._weights(q_BHNC, k_BHNC, self._log_gates(x_BND))
        v_BHNV = self.v(x_BND).reshape(B, N, H, -1).transpose(1, 2)
        y_BHNV = self.norm(self.output(p_BHNN.to(self.lower.dtype), v_BHNV))
        y_BND = y_BHNV.transpose(1, 2).reshape(B, N, D)
        del y_BHNV
        gate_BND = self.act(self.gate(x_BND))
        return self.fc_out(gate_BND * y_BND)

    def _log_gates(self, x_BND: Tensor) -> Tensor:
        """Return the logarithms of the gates of each direction, in fp32 if they have 16 bits."""
        low_BNR = self.gate_down(x_BND)
        return self.gate_act(exact(self.gate_up(low_BNR))) * (-1 / TEMPERATURE)

    def _weights(self, q_BHNC: Tensor, k_BHNC: Tensor, logs: Tensor) -> Tensor:
        """Return the weights of both directions: (B, H, N, N)."""
        B, H, N, C = q_BHNC.shape
        each_BHNC = logs.reshape(B, N, -1, H, C).permute(2, 0, 3, 1, 4).unbind(0)
        c_BHNC = each_BHNC[0].cumsum(2).exp()
        p_BHNN = self.scores(q_BHNC * c_BHNC, (k_BHNC / c_BHNC).transpose(-2, -1))
        p_BHNN = p_BHNN * self.lower
        if self.causal:
            return p_BHNN
        sums_BHNC = each_BHNC[1].cumsum(2)
        c_BHNC = (sums_BHNC - each_BHNC[1]).exp()
        k_BHNC = k_BHNC * c_BHNC
        back_BHNN = self.scores_back(q_BHNC / c_BHNC, k_BHNC.transpose(-2, -1))
        return p_BHNN + back_BHNN * self.lower.transpose(-2, -1)
