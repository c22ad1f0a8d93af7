"""Fourier mixing; `vitprof.formulas.mixers.fourier` gives the equation."""

from __future__ import annotations

from torch import Tensor, nn

from vitprof.modules.fourier import RealPartFFT2


class Fourier(nn.Module):
    """The real part of the Fourier transform over tokens and channels."""

    def __init__(self) -> None:
        super().__init__()
        self.fft = RealPartFFT2()

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.fft(x_BND)
