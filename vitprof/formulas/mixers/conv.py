"""Depthwise convolution (Trockman and Kolter 2022, Patches Are All You Need?, section 2).

Y[i, j, c] = sum over u, v of W[u, v, c] X[i + u - k/2, j + v - k/2, c] + b[c]     N x D

The tokens form a grid of rows and columns, padded with zeros. ConvMixer's block is
BN(GELU(conv(Z))) + Z, without a norm before; here norm, activation and residual belong to
the block, and the mixer is only the depthwise convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import whole


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv(Mixer):
    """A depthwise convolution on the grid of the tokens."""

    name = "conv"
    aliases = ("convmixer",)
    summary = "depthwise convolution: one kernel per channel on the grid of the tokens"
    source = "Trockman and Kolter 2022, Patches Are All You Need?, section 2"
    module = "vitprof.modules.mixers.conv:DepthwiseConv"
    on_grid = True

    kernel_size: int = whole(
        9,
        symbol="kernel",
        odd=True,
        maximum=10_001,
        help="conv: side of the depthwise kernel",
        grows=1_024,
        convex=True,
    )

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        assert sizes.grid is not None
        (B, N, D), k = x.shape, self.size("kernel_size")
        x = x.transpose(1, 2).unflatten(2, sizes.grid)
        return run.conv("conv", x, D, (k, k), groups=D).reshape(B, D, N).transpose(1, 2)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        assert sizes.grid is not None
        return {**super().arguments(sizes), "grid": tuple(side.value for side in sizes.grid)}
