"""A classifier of stages; see `vitprof.formulas.models.pyramid`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.modules.parts.heads import WithLogits
from vitprof.modules.parts.norms import norm_of
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
        self.norm = _norm(spec, dim) if spec.stem_norm else nn.Identity()

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.norm(self.conv(image_BCHW).flatten(2).transpose(1, 2))


class ConvMerging(nn.Module):
    """A convolution with stride 2 on a grid of rows and columns, and optional norms."""

    def __init__(self, spec: PyramidSpec, finer: MixerSizes, sizes: MixerSizes) -> None:
        super().__init__()
        dim, out = finer.dim.value, sizes.dim.value
        self.grid = _numbers(finer)
        self.norm_before = _merge_norm(spec, "before", dim)
        self.conv = _conv(dim, out, spec.merge_kernel, stride=2)
        self.norm_after = _merge_norm(spec, "after", out)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BDRC = self.norm_before(x_BND).transpose(1, 2).unflatten(2, self.grid)
        x_BDRC = self.conv(x_BDRC)
        return self.norm_after(x_BDRC.flatten(2).transpose(1, 2))


class PoolMerging(nn.Module):
    """The mean of 2 x 2 tokens and a linear layer, and optional norms."""

    def __init__(self, spec: PyramidSpec, finer: MixerSizes, sizes: MixerSizes) -> None:
        super().__init__()
        dim, out = finer.dim.value, sizes.dim.value
        self.grid = _numbers(finer)
        self.norm_before = _merge_norm(spec, "before", dim)
        self.pool = nn.AvgPool2d(2)
        self.proj = nn.Linear(dim, out)
        self.norm_after = _merge_norm(spec, "after", out)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BDRC = self.norm_before(x_BND).transpose(1, 2).unflatten(2, self.grid)
        x_BDRC = self.pool(x_BDRC)
        y_BND = self.proj(x_BDRC.flatten(2).transpose(1, 2))
        del x_BDRC
        return self.norm_after(y_BND)


class PatchMerging(nn.Module):
    """The channels of 2 x 2 tokens, a norm, and a linear layer without bias, or these in turn."""

    def __init__(self, spec: PyramidSpec, finer: MixerSizes, sizes: MixerSizes) -> None:
        super().__init__()
        dim, out = finer.dim.value, sizes.dim.value
        self.grid = _numbers(sizes)
        self.norm_is_last = spec.merge == "concat-post"
        if not self.norm_is_last:
            self.norm = _norm(spec, 4 * dim)
        self.reduction = nn.Linear(4 * dim, out, bias=False)
        if self.norm_is_last:
            self.norm = _norm(spec, out)

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


_MERGES = {
    "conv": ConvMerging,
    "concat": PatchMerging,
    "concat-post": PatchMerging,
    "pool": PoolMerging,
}


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


class Pyramid(WithLogits):
    """Images (B, C, H, W) to logits (B, classes), or without a head to features (B, D)."""

    def __init__(self, spec: PyramidSpec) -> None:
        super().__init__()
        self.pooled_first = spec.final_norm_tokens == "pooled"
        self.stem = Stem(spec)
        finer = (None, *(stage.sizes for stage in spec.stages[:-1]))
        stages = zip(spec.stages, finer, strict=True)
        self.stages = nn.Sequential(*(Stage(spec, stage, before) for stage, before in stages))
        dim = spec.widths[-1]
        last = partial(norm_of, spec.outside, bias=spec.final_norm_bias)
        self.norm = last(dim) if spec.final_norm else nn.Identity()
        width = self.make_before_head(spec, dim, last)
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
        x = self.run_before_head(x)
        return self.head(x)


def _norm(spec: PyramidSpec, dim: int) -> nn.Module:
    """Return a norm outside of the blocks, before the last of them."""
    return norm_of(spec.outside, dim, bias=spec.norm_bias)


def _merge_norm(spec: PyramidSpec, place: str, dim: int) -> nn.Module:
    return _norm(spec, dim) if spec.has_norm(place) else nn.Identity()


def _conv(channels: int, dim: int, kernel: int, *, stride: int) -> nn.Conv2d:
    """Return a convolution that divides the sides of its input by its stride."""
    return nn.Conv2d(channels, dim, kernel, stride=stride, padding=(kernel - stride + 1) // 2)


def _numbers(sizes: MixerSizes) -> tuple[int, int]:
    """Return rows and columns of tokens."""
    assert sizes.grid is not None
    rows, columns = sizes.grid
    return rows.value, columns.value
