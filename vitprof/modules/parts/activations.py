"""Activations by name; `vitprof.formulas.parts.activations` gives their equations."""

from __future__ import annotations

from torch import Tensor, nn


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x)."""

    def __init__(self) -> None:
        super().__init__()
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "quick-gelu": QuickGELU,
}
