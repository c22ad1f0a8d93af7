"""MLPs; `vitprof.formulas.parts.mlps` gives their equations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.formulas.parts.mlps import CONVS
from vitprof.modules.parts.activations import ACTIVATIONS
from vitprof.modules.parts.norms import make_norm

if TYPE_CHECKING:
    from vitprof.formulas.parts.mlps import MlpOptions


def make_mlp(
    options: MlpOptions, dim: int, hidden: int, grid: tuple[int, int] | None = None
) -> nn.Module:
    """Return the MLP that the options select, on (..., dim); `grid` is that of a block's tokens."""
    if grid is not None and options.has_mlp_conv:
        return ConvMlp(options, dim, hidden, grid)
    return _MLPS[options.mlp](options, dim, hidden)


def make_dropout(options: MlpOptions) -> nn.Module:
    """Return a dropout, or an identity if the rate is 0."""
    return nn.Dropout(float(options.dropout)) if options.dropout else nn.Identity()


class _Hidden(nn.Module):
    """Layers of an MLP that has hidden channels, of which the first returns `first`."""

    def __init__(
        self,
        options: MlpOptions,
        dim: int,
        hidden: int,
        *,
        first: int,
        then: Mapping[str, nn.Module] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, first, bias=options.mlp_bias)
        for name, layer in then.items():
            self.add_module(name, layer)
        self.act = ACTIVATIONS[options.activation]()
        self.drop1 = make_dropout(options)
        self.norm = make_norm(options, hidden) if options.mlp_norm else nn.Identity()
        self.fc2 = nn.Linear(hidden, dim, bias=options.mlp_bias)
        self.drop2 = make_dropout(options)


class Mlp(_Hidden):
    """Two linear layers with an activation between, on each token."""

    def __init__(self, options: MlpOptions, dim: int, hidden: int) -> None:
        super().__init__(options, dim, hidden, first=hidden)

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.drop2(self.fc2(self.norm(self.drop1(self.act(self.fc1(x_BND))))))


class ConvMlp(_Hidden):
    """An MLP whose hidden channels pass a depthwise convolution on a grid before the activation."""

    def __init__(self, options: MlpOptions, dim: int, hidden: int, grid: tuple[int, int]) -> None:
        before = {name: ACTIVATIONS[name]() for name in CONVS[options.mlp_conv]}
        conv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        super().__init__(options, dim, hidden, first=hidden, then={**before, "conv": conv})
        self.grid, self.before = grid, tuple(before)

    def forward(self, x_BND: Tensor) -> Tensor:
        y = self.fc1(x_BND)
        y = y.transpose(1, 2).unflatten(2, self.grid)
        for name in self.before:
            y = self.get_submodule(name)(y)
        y = self.get_submodule("conv")(y)
        y = self.act(y.flatten(2).transpose(1, 2))
        y = self.drop1(y)
        y = self.norm(y)
        y = self.fc2(y)
        return self.drop2(y)


class GatedLinearUnit(_Hidden):
    """An MLP whose hidden channels are gated by as many others, on each token."""

    def __init__(self, options: MlpOptions, dim: int, hidden: int) -> None:
        super().__init__(options, dim, hidden, first=2 * hidden)

    def forward(self, x_BND: Tensor) -> Tensor:
        gate_BNH, value_BNH = self.fc1(x_BND).chunk(2, dim=-1)
        gated_BNH = self.act(gate_BNH) * value_BNH
        del gate_BNH, value_BNH  # frees the output of fc1 in inference
        gated_BNH = self.drop1(gated_BNH)
        gated_BNH = self.norm(gated_BNH)
        y_BND = self.fc2(gated_BNH)
        del gated_BNH
        return self.drop2(y_BND)


class Pointwise(nn.Module):
    """One linear layer and an activation, on each token."""

    def __init__(self, options: MlpOptions, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, dim, bias=options.mlp_bias)
        self.act = ACTIVATIONS[options.activation]()
        self.drop1 = make_dropout(options)

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.drop1(self.act(self.fc1(x_BND)))


_MLPS = {"plain": Mlp, "gated": GatedLinearUnit, "linear": Pointwise}
