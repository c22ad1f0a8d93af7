"""A module called with tensors in order, which returns tensors in a tuple."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class Flat(nn.Module):
    """A module for tracers that take and return tensors alone.

    Args:
        module: the module.
        names: keywords of the last of its arguments, in order.
    """

    def __init__(self, module: nn.Module, names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.module = module
        self.names = names
        self.train(module.training)

    def forward(self, *inputs: Any) -> tuple[Tensor, ...]:
        """Return the tensors of the module's output, in order."""
        in_order = len(inputs) - len(self.names)
        keywords = dict(zip(self.names, inputs[in_order:], strict=True))
        output = self.module(*inputs[:in_order], **keywords)
        return tuple(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))


class Held(Flat):
    """A flat module that stays in train or eval mode, whatever a tool sets it to."""

    def train(self, mode: bool = True) -> Held:
        """Do nothing."""
        return self
