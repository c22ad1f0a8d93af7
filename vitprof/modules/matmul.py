"""A product of two activations as a module, so that every tool can list it."""

from __future__ import annotations

from torch import Tensor, nn


class MatMul(nn.Module):
    """`left @ right`, batched over equal leading axes."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left @ right
