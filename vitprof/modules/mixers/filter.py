"""Global filter; `vitprof.formulas.mixers.filter` gives the equations.

The axis K is the columns // 2 + 1 columns of the spectrum that determine the others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.fourier import HalfFFT2, InverseHalfFFT2, exact


class Filter(nn.Module):
    """A learned complex weight for each frequency of the grid and each channel."""

    def __init__(self, dim: int, *, rows: int, columns: int) -> None:
        super().__init__()
        self.grid = (rows, columns)
        self.fft = HalfFFT2()
        self.inverse_fft = InverseHalfFFT2(rows, columns)
        self.complex_weight = nn.Parameter(0.02 * torch.randn(rows, columns // 2 + 1, dim, 2))

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        x_BRKD = self.fft(x_BND.reshape(B, *self.grid, D))
        x_BRKD = x_BRKD * torch.view_as_complex(exact(self.complex_weight))
        return self.inverse_fft(x_BRKD, x_BND.dtype).reshape(B, N, D)
