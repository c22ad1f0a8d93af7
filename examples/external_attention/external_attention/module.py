"""External attention in torch; the equations stand in `external_attention.formula`."""

from __future__ import annotations

from torch import Tensor, nn


class ExternalAttention(nn.Module):
    """Attention to a small learned memory in place of the other tokens."""

    def __init__(self, dim: int, heads: int, *, memory_units: int = 64) -> None:
        super().__init__()
        self.keys = nn.Linear(dim, memory_units, bias=False)
        self.softmax = nn.Softmax(dim=1)
        self.values = nn.Linear(memory_units, dim, bias=False)

    def forward(self, x_BND: Tensor) -> Tensor:
        a_BNS = self.softmax(self.keys(x_BND))
        a_BNS = a_BNS / a_BNS.sum(dim=-1, keepdim=True)
        y_BND: Tensor = self.values(a_BNS)
        return y_BND
