"""One pre-norm encoder block; the equations stand in `vitprof.formulas.block`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.formulas.block import ACTIVATIONS
from vitprof.formulas.size import ONE
from vitprof.modules.build import build_mixer
from vitprof.modules.norms import NORMS, LayerScale

if TYPE_CHECKING:
    from vitprof.formulas.block import Block as BlockSpec
    from vitprof.formulas.models.encoder_layer import EncoderLayer as EncoderLayerSpec


class Mlp(nn.Module):
    """Two linear layers with an activation between, on each token."""

    def __init__(self, dim: int, hidden: int, *, activation: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act: nn.Module = getattr(nn, ACTIVATIONS[activation])()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x_BND)))


class GatedLinearUnit(nn.Module):
    """An MLP whose hidden channels are gated by as many others, on each token."""

    def __init__(self, dim: int, hidden: int, *, activation: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 2 * hidden)
        self.act: nn.Module = getattr(nn, ACTIVATIONS[activation])()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        gate_BNH, value_BNH = self.fc1(x_BND).chunk(2, dim=-1)
        gated_BNH = self.act(gate_BNH) * value_BNH
        del gate_BNH, value_BNH  # of one tensor, which nothing else holds in inference
        return self.fc2(gated_BNH)


class Pointwise(nn.Module):
    """One linear layer and an activation, on each token."""

    def __init__(self, dim: int, hidden: int, *, activation: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, dim)
        self.act: nn.Module = getattr(nn, ACTIVATIONS[activation])()

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.act(self.fc1(x_BND))


_MLPS = {"plain": Mlp, "gated": GatedLinearUnit, "linear": Pointwise}


class Block(nn.Module):
    """Norm, mixer, norm, MLP, each pair with a residual around it.

    Identities stand where timm's block has its drop paths, and its layer scales if there are
    none.
    """

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        dim, options = spec.sizes.dim.value, spec.options
        norm = NORMS[options.norm]
        self.norm1 = norm(dim)
        self.mixer = build_mixer(spec.mixer, spec.sizes)
        self.ls1 = LayerScale(dim) if options.layer_scale else nn.Identity()
        self.drop_path1 = nn.Identity()
        self.mlp: nn.Module | None = None
        if options.mlp != "none":
            self.norm2 = norm(dim)
            self.mlp = _MLPS[options.mlp](dim, spec.hidden, activation=options.activation)
            self.ls2 = LayerScale(dim) if options.layer_scale else nn.Identity()
            self.drop_path2 = nn.Identity()

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.drop_path1(self.ls1(self.mixer(self.norm1(x_BND))))
        if self.mlp is None:
            return x_BND
        return x_BND + self.drop_path2(self.ls2(self.mlp(self.norm2(x_BND))))


class EncoderLayer(Block):
    """One block alone, at the sizes of a spec."""

    def __init__(self, spec: EncoderLayerSpec) -> None:
        (block,) = spec.blocks(ONE)
        super().__init__(block)
