"""Stochastic depth (Huang et al. 2016, Deep Networks with Stochastic Depth)."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Drops a residual branch of each sample with probability `p`, in train mode.

    A branch that stays is divided by the probability of staying, as in timm.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x_BND: Tensor) -> Tensor:
        if not self.training:
            return x_BND
        kept_B11 = x_BND.new_empty(x_BND.shape[0], 1, 1).bernoulli_(1 - self.p)
        kept_B11.div_(1 - self.p)
        return x_BND * kept_B11

    def extra_repr(self) -> str:
        return f"p={self.p}"
