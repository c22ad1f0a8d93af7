"""Norms and scales of channels that PyTorch lacks, or has only for another layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vitprof.formulas.parts.norms import WITH_BIAS

if TYPE_CHECKING:
    from vitprof.formulas.parts.norms import NormOptions


class Affine(nn.Module):
    """A gain and a bias per channel, in place of a norm (ResMLP)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of each channel over the tokens of all images: (..., D)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(-1, x.shape[-1])).view(x.shape)


class TokenGroupNorm(nn.GroupNorm):
    """Group normalisation with one group, all tokens of an image: (B, N, D) or (B, D)."""

    def __init__(self, dim: int, *, bias: bool = True) -> None:
        super().__init__(1, dim)
        if not bias:
            self.register_parameter("bias", None)  # GroupNorm has no argument for it

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            return super().forward(x)
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class LayerScale(nn.Module):
    """A gain per channel, by default that of a residual branch, initialised with 1e-4 (CaiT)."""

    def __init__(self, dim: int, start: float = 1e-4) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


NORMS: dict[str, Callable[..., nn.Module]] = {
    "layer": partial(nn.LayerNorm, eps=1e-6),
    "rms": partial(nn.RMSNorm, eps=1e-6),
    "affine": Affine,
    "batch": TokenBatchNorm,
    "group": TokenGroupNorm,
}


def normalised(x: Tensor) -> Tensor:
    """Divide x by its L2 norm along the last axis, which is at least 1e-12."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-12)


def make_norm(options: NormOptions, dim: int) -> nn.Module:
    """Return the norm of a model's blocks."""
    return norm_of(options.norm, dim, bias=options.norm_bias)


def norm_of(norm: str, dim: int, *, bias: bool) -> nn.Module:
    """Return a norm by name; `bias` is of those that can be without."""
    return NORMS[norm](dim, **({"bias": bias} if norm in WITH_BIAS else {}))
