"""A product of two activations as a module, so that every counter can name it."""

from __future__ import annotations

from torch import Tensor, nn


class MatMul(nn.Module):
    """`left @ right`, batched over the leading axes, which must be equal."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left @ right
