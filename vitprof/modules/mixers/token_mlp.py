"""An MLP across tokens; `vitprof.formulas.mixers.token_mlp` gives the equations."""

from __future__ import annotations

from torch import Tensor, nn


class TokenMlp(nn.Module):
    """Two linear layers across tokens, with a GELU between, the same for every channel."""

    def __init__(self, dim: int, heads: int, *, tokens: int, token_hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(tokens, token_hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(token_hidden, tokens)

    def forward(self, x_BND: Tensor) -> Tensor:
        # A linear layer on a tensor that is not contiguous adds its bias in a separate kernel.
        h_BDS = self.act(self.fc1(x_BND.transpose(1, 2).contiguous()))
        return self.fc2(h_BDS).transpose(1, 2)
