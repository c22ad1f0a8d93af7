"""Fourier mixing (Lee-Thorp et al. 2021, FNet, eq. 3).

Y = Re(F_N X F_D)                N x D, F_n the discrete Fourier transform of n points

It has no parameters and no contraction: the transform is listed as not counted, with the
usual FLOPs of the fast algorithm beside it (`vitprof.formulas.op.FFT`). It is computed in
fp32 at least, and not normalised: it scales X by about the square root of N D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Fourier(Mixer):
    """The real part of the Fourier transform over tokens and channels."""

    name = "fourier"
    aliases = ("fnet",)
    summary = "real part of the Fourier transform over tokens and channels, without parameters"
    source = "Lee-Thorp et al. 2021, FNet: Mixing Tokens with Fourier Transforms, eq. 3"
    module = "vitprof.modules.mixers.fourier:Fourier"

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return run.fft2("fft", x)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {}
