"""Attention free transformer; `vitprof.formulas.mixers.aft` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul


class AttentionFree(nn.Module):
    """AFT-full: a mean of the values, weighted by keys and position pairs, times a gate."""

    def __init__(
        self,
        dim: int,
        *,
        tokens: int,
        factorised: bool = False,
        bias_dim: int = 128,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        self.factorised = factorised
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        if factorised:
            self.position_product = MatMul()
            self.position_rows = nn.Parameter(0.02 * torch.randn(tokens, bias_dim))
            self.position_columns = nn.Parameter(0.02 * torch.randn(bias_dim, tokens))
        else:
            self.positions = nn.Parameter(0.02 * torch.randn(tokens, tokens))
        self.numerator = MatMul()
        self.denominator = MatMul()
        self.gate = nn.Sigmoid()

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        q_BND, k_BND, v_BND = self.qkv(x_BND).chunk(3, dim=-1)
        k_BND = (k_BND - k_BND.detach().amax(1, keepdim=True)).exp()
        w_NN = self.position_weights()
        y_ND = self.numerator(w_NN, tokens_first(k_BND * v_BND))
        y_ND = y_ND / self.denominator(w_NN, tokens_first(k_BND))
        return self.gate(q_BND) * y_ND.reshape(N, B, D).transpose(0, 1)

    def position_weights(self) -> Tensor:
        """Return the exponentials of the position biases: (N, N)."""
        if self.factorised:
            w_NN = self.position_product(self.position_rows, self.position_columns)
        else:
            w_NN = self.positions
        return (w_NN - w_NN.detach().amax(1, keepdim=True)).exp()


def tokens_first(x_BND: Tensor) -> Tensor:
    """Return all images' channels side by side: (N, B * D)."""
    return x_BND.transpose(0, 1).flatten(1)
