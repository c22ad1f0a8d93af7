"""A linear layer across tokens; `vitprof.formulas.mixers.token_linear` gives the equation."""

from __future__ import annotations

from torch import Tensor, nn


class TokenLinear(nn.Module):
    """A linear layer across tokens, the same for every channel."""

    def __init__(self, dim: int, heads: int, *, tokens: int) -> None:
        super().__init__()
        self.fc = nn.Linear(tokens, tokens)

    def forward(self, x_BND: Tensor) -> Tensor:
        # A linear layer on a tensor that is not contiguous adds its bias in a separate kernel.
        return self.fc(x_BND.transpose(1, 2).contiguous()).transpose(1, 2)
