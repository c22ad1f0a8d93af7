"""Helpers of the mixers' references: distinct weights, columns of a linear layer."""

from __future__ import annotations

from torch import Tensor, nn


def prepare(module: nn.Module, reach: float = 1) -> None:
    """Set every weight and running statistic to a distinct value, in double precision."""
    module.double().eval()
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif tensor.is_floating_point():  # a count of batches is not
            tensor.uniform_(-reach, reach)


def columns(linear: nn.Linear, x: Tensor, start: int, width: int) -> Tensor:
    """Return outputs `start` to `start + width` of a linear layer."""
    rows = slice(start, start + width)
    return x @ linear.weight[rows].T + linear.bias[rows]
