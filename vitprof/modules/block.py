"""One pre-norm encoder block; the equations stand in `vitprof.formulas.block`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.formulas.block import ACTIVATIONS
from vitprof.formulas.size import ONE
from vitprof.modules.build import build_mixer

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


class Block(nn.Module):
    """Norm, mixer, norm, MLP, each pair with a residual around it.

    The four identities stand where timm's block has its layer scales and drop paths.
    """

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        dim = spec.sizes.dim.value
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.mixer = build_mixer(spec.mixer, spec.sizes)
        self.ls1 = nn.Identity()
        self.drop_path1 = nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, spec.hidden, activation=spec.activation)
        self.ls2 = nn.Identity()
        self.drop_path2 = nn.Identity()

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.drop_path1(self.ls1(self.mixer(self.norm1(x_BND))))
        return x_BND + self.drop_path2(self.ls2(self.mlp(self.norm2(x_BND))))


class EncoderLayer(Block):
    """One block alone, at the sizes of a spec."""

    def __init__(self, spec: EncoderLayerSpec) -> None:
        (block,) = spec.blocks(ONE)
        super().__init__(block)
