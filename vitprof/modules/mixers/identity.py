"""No mixing; see `vitprof.formulas.mixers.identity`."""

from __future__ import annotations

from torch import Tensor, nn


class IdentityMixer(nn.Module):
    """The tokens, unchanged."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()

    def forward(self, x_BND: Tensor) -> Tensor:
        return x_BND
