"""One encoder block; `vitprof.formulas.block` gives arrangements and equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.formulas.plugins import is_own
from vitprof.modules.build import build_mixer, build_shared, check_output
from vitprof.modules.drop_path import DropPath
from vitprof.modules.parts.activations import ACTIVATIONS
from vitprof.modules.parts.mlps import make_dropout, make_mlp
from vitprof.modules.parts.norms import LayerScale, make_norm
from vitprof.modules.parts.patch_interaction import PatchInteraction

if TYPE_CHECKING:
    from vitprof.formulas.block import Block as BlockSpec
    from vitprof.formulas.models.encoder_layer import EncoderLayer as EncoderLayerSpec


_PARTS = {  # submodules of each arrangement, in the order in which they run
    "pre": "rs1 norm1 mixer proj_drop ls1 drop_path1 "
    "rs3 norm3 local ls3 drop_path3 rs2 norm2 mlp ls2 drop_path2",
    "post": "rs1 mixer proj_drop ls1 drop_path1 norm1 "
    "rs3 local ls3 drop_path3 norm3 rs2 mlp ls2 drop_path2 norm2",
    "res-post": "rs1 mixer proj_drop norm1 ls1 drop_path1 "
    "rs3 local norm3 ls3 drop_path3 rs2 mlp norm2 ls2 drop_path2",
    "parallel": "norm1 rs1 mixer proj_drop ls1 drop_path1 "
    "rs3 local ls3 drop_path3 rs2 mlp ls2 drop_path2",
    "single": "norm1 mixer proj_drop norm2 mlp rs1 ls1 drop_path1",
    "inner": "mixer proj_drop norm1 mlp rs1 ls1 drop_path1",
    "conv": "rs1 mixer proj_drop act norm1 ls1 drop_path1 mlp norm2",
}
_BRANCHES = {"pre": "norm {} ls drop_path", "res-post": "{} norm ls drop_path"}
_WITH_DROPOUT = {"mixer": "mixer proj_drop"}
_OF_MLP = ("rs2", "norm2", "mlp", "ls2", "drop_path2")
_OF_LOCAL = ("rs3", "norm3", "local", "ls3", "drop_path3")
_OF_RES_SCALE = ("rs1", "rs2", "rs3")
_OF_DROPOUT = ("proj_drop",)


class _Parts(nn.Module):
    """The parts of a block or of a branch, as submodules in the order of their names.

    Drop paths and layer scales are `nn.Identity` if they are off, as in timm's block.
    """

    norm1: nn.Module
    norm2: nn.Module
    norm3: nn.Module
    mixer: nn.Module
    local: nn.Module
    mlp: nn.Module
    proj_drop: nn.Module
    act: nn.Module
    rs1: nn.Module
    rs2: nn.Module
    rs3: nn.Module
    ls1: nn.Module
    ls2: nn.Module
    ls3: nn.Module
    drop_path1: nn.Module
    drop_path2: nn.Module
    drop_path3: nn.Module

    def add_parts(self, spec: BlockSpec, names: str) -> None:
        """Build the parts that the options have, of those named."""
        dim, options = spec.sizes.dim.value, spec.options
        self.has_mlp, self.has_local = options.mlp != "none", options.has_patch_interaction
        self.has_dropout = options.dropout > 0
        self.has_res_scale = options.res_scale
        mixer = type(spec.mixer)
        self.others = None if is_own(mixer) else mixer  # a mixer of another package
        make: dict[str, Callable[[], nn.Module]] = {
            "mixer": lambda: build_mixer(spec.mixer, spec.sizes),
            "local": lambda: _make_local(spec),
            "mlp": lambda: make_mlp(options, dim, spec.hidden, _grid(spec)),
            "act": ACTIVATIONS[options.activation],
            "norm": lambda: make_norm(options, dim),
            "proj_drop": lambda: make_dropout(options),
            "rs": lambda: LayerScale(dim, start=1.0),
            "ls": lambda: LayerScale(dim) if options.layer_scale else nn.Identity(),
            "drop_path": lambda: (
                DropPath(float(options.drop_path)) if options.drop_path else nn.Identity()
            ),
        }
        there = (
            *((_OF_MLP, self.has_mlp), (_OF_LOCAL, self.has_local)),
            *((_OF_DROPOUT, self.has_dropout), (_OF_RES_SCALE, self.has_res_scale)),
        )
        left_out = {name for names, is_there in there if not is_there for name in names}
        for name in names.split():
            if name not in left_out:
                self.add_module(name, make[name.rstrip("123")]())

    def mix(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        """Run the mixer and its dropout."""
        y_BND = self.mixer(x_BND, *shared)
        if self.others is not None:
            check_output(self.others, self.mixer, x_BND, y_BND)
        return self.proj_drop(y_BND) if self.has_dropout else y_BND


class Branch(_Parts):
    """A mixer, a patch interaction or an MLP with its norm; one of several that read the same."""

    def __init__(self, spec: BlockSpec, part: str) -> None:
        super().__init__()
        self.add_parts(spec, _BRANCHES[spec.options.block].format(_WITH_DROPOUT.get(part, part)))

    def forward(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        for name, part in self.named_children():
            if name != "proj_drop":  # runs with the mixer
                x_BND = self.mix(x_BND, *shared) if name == "mixer" else part(x_BND)
        return x_BND


class Block(_Parts):
    """Token mixer and MLP, with norms and residuals in one of several arrangements.

    A block that stands alone has what blocks share with each other as a submodule, `shared`; else
    `reads` is the name of the model's submodule that has it.
    """

    def __init__(
        self, spec: BlockSpec, *, shared: nn.Module | None = None, reads: str = ""
    ) -> None:
        super().__init__()
        self.shared, self.reads = shared, reads
        options = spec.options
        self.arrangement = "several" if options.has_several else options.block.replace("-", "_")
        if not options.has_several:
            self.add_parts(spec, _PARTS[options.block])
            return
        self.several = [(names, place) for _, place, names in options.parts]
        self.has_res_scale = options.res_scale
        for part, place, names in options.parts:
            branches = (Branch(spec, part) for _ in range(options.branches))
            self.add_module(names, nn.ModuleList(branches))
            if options.res_scale:
                self.add_module(f"rs{place}", LayerScale(spec.sizes.dim.value, start=1.0))

    def forward(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        arranged: Tensor = getattr(self, f"_{self.arrangement}")(x_BND, *shared)
        return arranged

    def _several(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        for name, place in self.several:
            x_BND = self._sum(name, place, x_BND, *(shared if name == "mixers" else ()))
        return x_BND

    def _sum(self, name: str, place: int, x_BND: Tensor, *shared: Tensor) -> Tensor:
        """Add the outputs of all branches of a kind to what they read."""
        branches = self.get_submodule(name)
        made = [branch(x_BND, *shared) for branch in branches.children()]
        x_BND = self._kept(place, x_BND)
        for y_BND in made:
            x_BND = x_BND + y_BND
        return x_BND

    def _kept(self, place: int, x_BND: Tensor) -> Tensor:
        """Return the residual that a branch is added to, with its scale if there is one."""
        if not self.has_res_scale:
            return x_BND
        scaled: Tensor = getattr(self, f"rs{place}")(x_BND)
        return scaled

    def _pre(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        x_BND = self._kept(1, x_BND) + self.drop_path1(
            self.ls1(self.mix(self.norm1(x_BND), *shared))
        )
        if self.has_local:
            x_BND = self._kept(3, x_BND) + self.drop_path3(self.ls3(self.local(self.norm3(x_BND))))
        if not self.has_mlp:
            return x_BND
        return self._kept(2, x_BND) + self.drop_path2(self.ls2(self.mlp(self.norm2(x_BND))))

    def _post(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        x_BND = self._kept(1, x_BND) + self.drop_path1(self.ls1(self.mix(x_BND, *shared)))
        x_BND = self.norm1(x_BND)
        if self.has_local:
            x_BND = self._kept(3, x_BND) + self.drop_path3(self.ls3(self.local(x_BND)))
            x_BND = self.norm3(x_BND)
        if not self.has_mlp:
            return x_BND
        x_BND = self._kept(2, x_BND) + self.drop_path2(self.ls2(self.mlp(x_BND)))
        return self.norm2(x_BND)

    def _res_post(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        x_BND = self._kept(1, x_BND) + self.drop_path1(
            self.ls1(self.norm1(self.mix(x_BND, *shared)))
        )
        if self.has_local:
            x_BND = self._kept(3, x_BND) + self.drop_path3(self.ls3(self.norm3(self.local(x_BND))))
        if not self.has_mlp:
            return x_BND
        return self._kept(2, x_BND) + self.drop_path2(self.ls2(self.norm2(self.mlp(x_BND))))

    def _parallel(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        normalised_BND = self.norm1(x_BND)
        x_BND = self._kept(1, x_BND) + self.drop_path1(self.ls1(self.mix(normalised_BND, *shared)))
        if self.has_local:
            x_BND = self._kept(3, x_BND) + self.drop_path3(self.ls3(self.local(normalised_BND)))
        if not self.has_mlp:
            return x_BND
        return self._kept(2, x_BND) + self.drop_path2(self.ls2(self.mlp(normalised_BND)))

    def _single(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        y_BND = self.mix(self.norm1(x_BND), *shared)
        if self.has_mlp:
            y_BND = self.mlp(self.norm2(y_BND))
        return self._kept(1, x_BND) + self.drop_path1(self.ls1(y_BND))

    def _inner(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        y_BND = self.norm1(self.mix(x_BND, *shared))
        if self.has_mlp:
            y_BND = self.mlp(y_BND)
        return self._kept(1, x_BND) + self.drop_path1(self.ls1(y_BND))

    def _conv(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        x_BND = self._kept(1, x_BND) + self.drop_path1(
            self.ls1(self.norm1(self.act(self.mix(x_BND, *shared))))
        )
        return self.norm2(self.mlp(x_BND)) if self.has_mlp else x_BND


def _make_local(spec: BlockSpec) -> nn.Module:
    grid = _grid(spec)
    assert grid is not None
    return PatchInteraction(spec.sizes.dim.value, grid, spec.options.activation)


def _grid(spec: BlockSpec) -> tuple[int, int] | None:
    """Return rows and columns of the tokens, if they lie on a grid."""
    if spec.sizes.grid is None:
        return None
    rows, columns = spec.sizes.grid
    return rows.value, columns.value


class EncoderLayer(Block):
    """A single block, at the sizes of a spec."""

    def __init__(self, spec: EncoderLayerSpec) -> None:
        (stage,) = spec.stages
        (kind,) = stage.kinds
        super().__init__(kind.block, shared=build_shared(kind.block))

    def forward(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        return super().forward(x_BND, *(() if self.shared is None else self.shared()))
