"""Norms and scales of channels that PyTorch lacks, or has only for another layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn


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

    def __init__(self, dim: int) -> None:
        super().__init__(1, dim)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            return super().forward(x)
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class LayerScale(nn.Module):
    """A gain per channel of a residual branch, initialised with 1e-4 (CaiT)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 1e-4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": partial(nn.LayerNorm, eps=1e-6),
    "rms": partial(nn.RMSNorm, eps=1e-6),
    "affine": Affine,
    "batch": TokenBatchNorm,
    "group": TokenGroupNorm,
}


def normalised(x: Tensor) -> Tensor:
    """Divide x by its L2 norm along the last axis, which is at least 1e-12."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-12)
