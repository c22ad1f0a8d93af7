"""One encoder block; `vitprof.formulas.block` gives arrangements and equations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.formulas.block import ACTIVATIONS
from vitprof.formulas.plugins import is_own
from vitprof.modules.build import build_mixer, check_output
from vitprof.modules.drop_path import DropPath
from vitprof.modules.norms import NORMS, LayerScale

if TYPE_CHECKING:
    from vitprof.formulas.block import Block as BlockSpec
    from vitprof.formulas.models.encoder_layer import EncoderLayer as EncoderLayerSpec


def _dropout(rate: float) -> nn.Module:
    return nn.Dropout(rate) if rate else nn.Identity()


class Mlp(nn.Module):
    """Two linear layers with an activation between, on each token."""

    def __init__(self, dim: int, hidden: int, *, activation: str, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act: nn.Module = getattr(nn, ACTIVATIONS[activation])()
        self.drop1 = _dropout(dropout)
        self.fc2 = nn.Linear(hidden, dim)
        self.drop2 = _dropout(dropout)

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.drop2(self.fc2(self.drop1(self.act(self.fc1(x_BND)))))


class GatedLinearUnit(nn.Module):
    """An MLP whose hidden channels are gated by as many others, on each token."""

    def __init__(self, dim: int, hidden: int, *, activation: str, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 2 * hidden)
        self.act: nn.Module = getattr(nn, ACTIVATIONS[activation])()
        self.drop1 = _dropout(dropout)
        self.fc2 = nn.Linear(hidden, dim)
        self.drop2 = _dropout(dropout)

    def forward(self, x_BND: Tensor) -> Tensor:
        gate_BNH, value_BNH = self.fc1(x_BND).chunk(2, dim=-1)
        gated_BNH = self.act(gate_BNH) * value_BNH
        del gate_BNH, value_BNH  # frees the output of fc1 in inference
        gated_BNH = self.drop1(gated_BNH)
        y_BND = self.fc2(gated_BNH)
        del gated_BNH
        return self.drop2(y_BND)


class Pointwise(nn.Module):
    """One linear layer and an activation, on each token."""

    def __init__(self, dim: int, hidden: int, *, activation: str, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, dim)
        self.act: nn.Module = getattr(nn, ACTIVATIONS[activation])()
        self.drop1 = _dropout(dropout)

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.drop1(self.act(self.fc1(x_BND)))


_MLPS = {"plain": Mlp, "gated": GatedLinearUnit, "linear": Pointwise}


_PARTS = {  # submodules of each arrangement, in the order in which they run
    "pre": "norm1 mixer proj_drop ls1 drop_path1 norm2 mlp ls2 drop_path2",
    "post": "mixer proj_drop ls1 drop_path1 norm1 mlp ls2 drop_path2 norm2",
    "parallel": "norm1 mixer proj_drop ls1 drop_path1 mlp ls2 drop_path2",
    "single": "norm1 mixer proj_drop norm2 mlp ls1 drop_path1",
    "conv": "mixer proj_drop act norm1 ls1 drop_path1 mlp norm2",
}
_OF_MLP = ("norm2", "mlp", "ls2", "drop_path2")


class Block(nn.Module):
    """Token mixer and MLP, with norms and residuals in one of several arrangements.

    Drop paths and layer scales are `nn.Identity` if they are off, as in timm's block.
    """

    norm1: nn.Module
    norm2: nn.Module
    mixer: nn.Module
    mlp: nn.Module
    proj_drop: nn.Module
    act: nn.Module
    ls1: nn.Module
    ls2: nn.Module
    drop_path1: nn.Module
    drop_path2: nn.Module

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        dim, options = spec.sizes.dim.value, spec.options
        self.arrangement, self.has_mlp = options.block, options.mlp != "none"
        self.has_dropout = options.dropout > 0
        mixer = type(spec.mixer)
        self.others = None if is_own(mixer) else mixer  # a mixer of another package
        for name in _PARTS[options.block].split():
            if not self.has_mlp and name in _OF_MLP:
                continue
            if not self.has_dropout and name == "proj_drop":
                continue
            if name == "mixer":
                part = build_mixer(spec.mixer, spec.sizes)
            elif name == "mlp":
                part = _MLPS[options.mlp](
                    dim, spec.hidden, activation=options.activation, dropout=float(options.dropout)
                )
            elif name == "act":
                part = getattr(nn, ACTIVATIONS[options.activation])()
            elif name.startswith("norm"):
                part = NORMS[options.norm](dim)
            elif name == "proj_drop":
                part = _dropout(float(options.dropout))
            elif name.startswith("drop_path"):
                part = DropPath(float(options.drop_path)) if options.drop_path else nn.Identity()
            else:
                part = LayerScale(dim) if options.layer_scale else nn.Identity()
            self.add_module(name, part)

    def forward(self, x_BND: Tensor) -> Tensor:
        arranged: Tensor = getattr(self, f"_{self.arrangement}")(x_BND)
        return arranged

    def _mix(self, x_BND: Tensor) -> Tensor:
        y_BND = self.mixer(x_BND)
        if self.others is not None:
            check_output(self.others, self.mixer, x_BND, y_BND)
        return self.proj_drop(y_BND) if self.has_dropout else y_BND

    def _pre(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.drop_path1(self.ls1(self._mix(self.norm1(x_BND))))
        if not self.has_mlp:
            return x_BND
        return x_BND + self.drop_path2(self.ls2(self.mlp(self.norm2(x_BND))))

    def _post(self, x_BND: Tensor) -> Tensor:
        x_BND = self.norm1(x_BND + self.drop_path1(self.ls1(self._mix(x_BND))))
        if not self.has_mlp:
            return x_BND
        return self.norm2(x_BND + self.drop_path2(self.ls2(self.mlp(x_BND))))

    def _parallel(self, x_BND: Tensor) -> Tensor:
        normalised_BND = self.norm1(x_BND)
        x_BND = x_BND + self.drop_path1(self.ls1(self._mix(normalised_BND)))
        if not self.has_mlp:
            return x_BND
        return x_BND + self.drop_path2(self.ls2(self.mlp(normalised_BND)))

    def _single(self, x_BND: Tensor) -> Tensor:
        y_BND = self._mix(self.norm1(x_BND))
        if self.has_mlp:
            y_BND = self.mlp(self.norm2(y_BND))
        return x_BND + self.drop_path1(self.ls1(y_BND))

    def _conv(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.drop_path1(self.ls1(self.norm1(self.act(self._mix(x_BND)))))
        return self.norm2(self.mlp(x_BND)) if self.has_mlp else x_BND


class EncoderLayer(Block):
    """A single block, at the sizes of a spec."""

    def __init__(self, spec: EncoderLayerSpec) -> None:
        (stage,) = spec.stages
        super().__init__(stage.block)
