"""MLPs; `vitprof.formulas.parts.mlps` gives their equations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.modules.parts.activations import ACTIVATIONS
from vitprof.modules.parts.norms import NORMS

if TYPE_CHECKING:
    from vitprof.formulas.parts.mlps import MlpOptions


def make_mlp(options: MlpOptions, dim: int, hidden: int) -> nn.Module:
    """Return the MLP that the options select, on (..., dim)."""
    return _MLPS[options.mlp](options, dim, hidden)


def make_dropout(options: MlpOptions) -> nn.Module:
    """Return a dropout, or an identity if the rate is 0."""
    return nn.Dropout(float(options.dropout)) if options.dropout else nn.Identity()


class _Hidden(nn.Module):
    """Layers of an MLP that has hidden channels, of which the first returns `first`."""

    def __init__(self, options: MlpOptions, dim: int, hidden: int, *, first: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, first, bias=options.mlp_bias)
        self.act = ACTIVATIONS[options.activation]()
        self.drop1 = make_dropout(options)
        self.norm = NORMS[options.norm](hidden) if options.mlp_norm else nn.Identity()
        self.fc2 = nn.Linear(hidden, dim, bias=options.mlp_bias)
        self.drop2 = make_dropout(options)


class Mlp(_Hidden):
    """Two linear layers with an activation between, on each token."""

    def __init__(self, options: MlpOptions, dim: int, hidden: int) -> None:
        super().__init__(options, dim, hidden, first=hidden)

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.drop2(self.fc2(self.norm(self.drop1(self.act(self.fc1(x_BND))))))


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
