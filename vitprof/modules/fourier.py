"""Discrete Fourier transforms as modules, so that every tool can list them.

They compute in fp32 at least: PyTorch has none in bf16, and in fp16 only on a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def exact(x: Tensor) -> Tensor:
    """Cast a tensor to fp32 if its dtype has fewer bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class RealPartFFT2(nn.Module):
    """The real part of the transform over the last two axes: (B, N, D) to the same."""

    def forward(self, x_BND: Tensor) -> Tensor:
        return torch.fft.fft2(exact(x_BND)).real.to(x_BND.dtype)


class HalfFFT2(nn.Module):
    """The transform of (B, rows, columns, D) over rows and columns, with orthonormal scaling.

    The spectrum of real numbers is symmetric, so the output has only columns // 2 + 1 columns.
    """

    def forward(self, x_BRCD: Tensor) -> Tensor:
        return torch.fft.rfft2(exact(x_BRCD), dim=(1, 2), norm="ortho")


class InverseHalfFFT2(nn.Module):
    """The inverse of `HalfFFT2`, with real output in a given dtype."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.grid = (rows, columns)

    def forward(self, x_BRKD: Tensor, dtype: torch.dtype) -> Tensor:
        return torch.fft.irfft2(x_BRKD, s=self.grid, dim=(1, 2), norm="ortho").to(dtype)
