"""Discrete Fourier transforms as modules, so that every counter can name them.

They compute in fp32 at least: PyTorch has none of bf16, and of fp16 only on cards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def exact(x: Tensor) -> Tensor:
    """The tensor in fp32, or as it is where it has no fewer bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class RealPartFFT2(nn.Module):
    """The real part of the transform over the last two axes."""

    def forward(self, x_BND: Tensor) -> Tensor:
        return torch.fft.fft2(exact(x_BND)).real.to(x_BND.dtype)


class HalfFFT2(nn.Module):
    """The transform over rows and columns, divided by the root of their number.

    That of real numbers is symmetric, so only columns // 2 + 1 of its columns are there.
    """

    def forward(self, x_BRCD: Tensor) -> Tensor:
        return torch.fft.rfft2(exact(x_BRCD), dim=(1, 2), norm="ortho")


class InverseHalfFFT2(nn.Module):
    """The real numbers on a grid that `HalfFFT2` transforms into this."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.grid = (rows, columns)

    def forward(self, x_BRKD: Tensor, dtype: torch.dtype) -> Tensor:
        return torch.fft.irfft2(x_BRKD, s=self.grid, dim=(1, 2), norm="ortho").to(dtype)
