"""One encoder block; the arrangements and equations stand in `vitprof.formulas.block`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.formulas.block import ACTIVATIONS
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


_PARTS = {  # of each arrangement, in the order in which they run
    "pre": "norm1 mixer ls1 drop_path1 norm2 mlp ls2 drop_path2",
    "post": "mixer ls1 drop_path1 norm1 mlp ls2 drop_path2 norm2",
    "parallel": "norm1 mixer ls1 drop_path1 mlp ls2 drop_path2",
    "single": "norm1 mixer norm2 mlp ls1 drop_path1",
    "conv": "mixer act norm1 ls1 drop_path1 mlp norm2",
}
_OF_MLP = ("norm2", "mlp", "ls2", "drop_path2")


class Block(nn.Module):
    """Token mixer and MLP, with norms and residuals in one of several arrangements.

    Identities stand where timm's block has its drop paths, and its layer scales if there are
    none.
    """

    norm1: nn.Module
    norm2: nn.Module
    mixer: nn.Module
    mlp: nn.Module
    act: nn.Module
    ls1: nn.Module
    ls2: nn.Module
    drop_path1: nn.Module
    drop_path2: nn.Module

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        dim, options = spec.sizes.dim.value, spec.options
        self.arrangement, self.has_mlp = options.block, options.mlp != "none"
        for name in _PARTS[options.block].split():
            if not self.has_mlp and name in _OF_MLP:
                continue
            if name == "mixer":
                part = build_mixer(spec.mixer, spec.sizes)
            elif name == "mlp":
                part = _MLPS[options.mlp](dim, spec.hidden, activation=options.activation)
            elif name == "act":
                part = getattr(nn, ACTIVATIONS[options.activation])()
            elif name.startswith("norm"):
                part = NORMS[options.norm](dim)
            else:
                scales = options.layer_scale and name.startswith("ls")
                part = LayerScale(dim) if scales else nn.Identity()
            self.add_module(name, part)

    def forward(self, x_BND: Tensor) -> Tensor:
        arranged: Tensor = getattr(self, f"_{self.arrangement}")(x_BND)
        return arranged

    def _pre(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.drop_path1(self.ls1(self.mixer(self.norm1(x_BND))))
        if not self.has_mlp:
            return x_BND
        return x_BND + self.drop_path2(self.ls2(self.mlp(self.norm2(x_BND))))

    def _post(self, x_BND: Tensor) -> Tensor:
        x_BND = self.norm1(x_BND + self.drop_path1(self.ls1(self.mixer(x_BND))))
        if not self.has_mlp:
            return x_BND
        return self.norm2(x_BND + self.drop_path2(self.ls2(self.mlp(x_BND))))

    def _parallel(self, x_BND: Tensor) -> Tensor:
        normalised_BND = self.norm1(x_BND)
        x_BND = x_BND + self.drop_path1(self.ls1(self.mixer(normalised_BND)))
        if not self.has_mlp:
            return x_BND
        return x_BND + self.drop_path2(self.ls2(self.mlp(normalised_BND)))

    def _single(self, x_BND: Tensor) -> Tensor:
        y_BND = self.mixer(self.norm1(x_BND))
        if self.has_mlp:
            y_BND = self.mlp(self.norm2(y_BND))
        return x_BND + self.drop_path1(self.ls1(y_BND))

    def _conv(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.drop_path1(self.ls1(self.norm1(self.act(self.mixer(x_BND)))))
        return self.norm2(self.mlp(x_BND)) if self.has_mlp else x_BND


class EncoderLayer(Block):
    """One block alone, at the sizes of a spec."""

    def __init__(self, spec: EncoderLayerSpec) -> None:
        (stage,) = spec.stages
        super().__init__(stage.block)
