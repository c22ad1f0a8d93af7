"""A classifier of stages; see `vitprof.formulas.models.pyramid`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.modules.parts.norms import NORMS
from vitprof.modules.stage import add_shared, make_blocks, run_shared, shared_of

if TYPE_CHECKING:
    from vitprof.formulas.mixer import MixerSizes
    from vitprof.formulas.models.pyramid import Pyramid as PyramidSpec
    from vitprof.formulas.stage import Stage as StageSpec


class Stem(nn.Module):
    """A convolution of images whose positions are the first tokens, and an optional norm."""

    def __init__(self, spec: PyramidSpec) -> None:
        super().__init__()
        dim, patch = spec.widths[0], spec.patch_size
        self.conv = _conv(spec.channels, dim, spec.stem_kernel or patch, stride=patch)
        self.norm = NORMS[spec.norm](dim) if spec.stem_norm else nn.Identity()

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.norm(self.conv(image_BCHW).flatten(2).transpose(1, 2))


class ConvMerging(nn.Module):
    """An optional norm and a convolution with stride 2 on a grid of rows and columns."""

    def __init__(self, spec: PyramidSpec, finer: MixerSizes, sizes: MixerSizes) -> None:
        super().__init__()
        dim, out = finer.dim.value, sizes.dim.value
        self.grid = _numbers(finer)
        self.norm = NORMS[spec.norm](dim) if spec.merge_norm else nn.Identity()
        self.conv = _conv(dim, out, spec.merge_kernel, stride=2)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BDRC = self.norm(x_BND).transpose(1, 2).unflatten(2, self.grid)
        return self.conv(x_BDRC).flatten(2).transpose(1, 2)


class PatchMerging(nn.Module):
    """The channels of 2 x 2 tokens, a norm, and a linear layer without bias, or these in turn."""

    def __init__(self, spec: PyramidSpec, finer: MixerSizes, sizes: MixerSizes) -> None:
        super().__init__()
        dim, out = finer.dim.value, sizes.dim.value
        self.grid = _numbers(sizes)
        self.norm_is_last = spec.merge == "concat-post"
        if not self.norm_is_last:
            self.norm = NORMS[spec.norm](4 * dim)
        self.reduction = nn.Linear(4 * dim, out, bias=False)
        if self.norm_is_last:
            self.norm = NORMS[spec.norm](out)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, _, D = x_BND.shape
        R, C = self.grid
        x_BND = x_BND.reshape(B, R, 2, C, 2, D).permute(0, 1, 3, 4, 2, 5)
        x_BND = x_BND.reshape(B, R * C, 4 * D)
        if self.norm_is_last:
            x_BND = self.reduction(x_BND)
            return self.norm(x_BND)
        x_BND = self.norm(x_BND)
        return self.reduction(x_BND)


_MERGES = {"conv": ConvMerging, "concat": PatchMerging, "concat-post": PatchMerging}


class Stage(nn.Module):
    """Blocks, after a merging of tokens except in the first stage."""

    def __init__(self, spec: PyramidSpec, stage: StageSpec, finer: MixerSizes | None) -> None:
        super().__init__()
        sizes = stage.sizes
        self.downsample = None if finer is None else _MERGES[spec.merge](spec, finer, sizes)
        add_shared(self, stage)
        self.blocks = make_blocks(stage)

    def forward(self, x_BND: Tensor) -> Tensor:
        if self.downsample is not None:
            x_BND = self.downsample(x_BND)
        shared = run_shared(self)
        for block in self.blocks:
            x_BND = block(x_BND, *shared_of(shared, block))
        return x_BND


class Pyramid(nn.Module):
    """Images (B, C, H, W) to logits (B, classes), or without a head to features (B, D)."""

    def __init__(self, spec: PyramidSpec) -> None:
        super().__init__()
        self.pooled_first = spec.final_norm_tokens == "pooled"
        self.stem = Stem(spec)
        finer = (None, *(stage.sizes for stage in spec.stages[:-1]))
        stages = zip(spec.stages, finer, strict=True)
        self.stages = nn.Sequential(*(Stage(spec, stage, before) for stage, before in stages))
        dim = spec.widths[-1]
        self.norm = NORMS[spec.norm](dim) if spec.final_norm else nn.Identity()
        width = spec.head_hidden or dim
        self.pre_logits = nn.Linear(dim, width) if spec.head and spec.head_hidden else None
        self.head_act = nn.Tanh() if self.pre_logits is not None else None
        self.head = nn.Linear(width, spec.classes, bias=spec.head_bias) if spec.head else None

    def forward(self, image_BCHW: Tensor) -> Tensor:
        x_BND = self.stem(image_BCHW)
        x_BND = self.stages(x_BND)
        return self._classify(self._pool(x_BND))

    def _pool(self, x_BND: Tensor) -> Tensor:
        return self.norm(x_BND.mean(dim=1)) if self.pooled_first else self.norm(x_BND).mean(dim=1)

    def _classify(self, x: Tensor) -> Tensor:
        if self.head is None:
            return x
        if self.pre_logits is not None and self.head_act is not None:
            x = self.head_act(self.pre_logits(x))
        return self.head(x)


def _conv(channels: int, dim: int, kernel: int, *, stride: int) -> nn.Conv2d:
    """Return a convolution that divides the sides of its input by its stride."""
    return nn.Conv2d(channels, dim, kernel, stride=stride, padding=(kernel - stride + 1) // 2)


def _numbers(sizes: MixerSizes) -> tuple[int, int]:
    """Return rows and columns of tokens."""
    assert sizes.grid is not None
    rows, columns = sizes.grid
    return rows.value, columns.value
