"""Random mixing; `vitprof.formulas.mixers.random` gives its equation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul


class RandomMixing(nn.Module):
    """A random matrix across tokens, which is not trained."""

    def __init__(self, *, dim: int, heads: int, tokens: int) -> None:
        super().__init__()
        matrix = torch.softmax(torch.rand(tokens, tokens), dim=-1)
        self.matrix = nn.Parameter(matrix, requires_grad=False)
        self.mix = MatMul()

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.mix(x_BND.mT, self.matrix.mT).mT
