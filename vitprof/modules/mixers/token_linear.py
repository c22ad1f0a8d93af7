"""A linear layer across tokens; the equation stands in `vitprof.formulas.mixers.token_linear`."""

from __future__ import annotations

from torch import Tensor, nn


class TokenLinear(nn.Module):
    """A linear layer along the tokens, the same for every channel."""

    def __init__(self, dim: int, heads: int, *, tokens: int) -> None:
        super().__init__()
        self.fc = nn.Linear(tokens, tokens)

    def forward(self, x_BND: Tensor) -> Tensor:
        # Of a tensor that is not contiguous a linear layer adds its bias in a pass of its own.
        return self.fc(x_BND.transpose(1, 2).contiguous()).transpose(1, 2)
