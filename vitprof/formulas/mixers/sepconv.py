"""Inverted separable convolution (Yu et al. 2022, MetaFormer Baselines for Vision, eq. 5).

X' = StarReLU(X W_1)             N x eD
Y = conv(X') W_2                 N x D

`conv` is a depthwise convolution on the grid of the tokens, padded with zeros, as in
`vitprof.formulas.mixers.conv`, and e is `expand`. Nothing has a bias but StarReLU
(`vitprof.formulas.parts.activations`). Sandler et al. 2018, MobileNetV2, have the order of the
layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import expand_option
from vitprof.formulas.parts.activations import activate
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import whole


@dataclass(frozen=True, kw_only=True)
class SeparableConv(Mixer):
    """A depthwise convolution of expanded channels."""

    name = "sepconv"
    aliases = ("convformer",)
    summary = (
        "inverted separable convolution: a depthwise one of expanded channels, as in ConvFormer"
    )
    source = "Yu et al. 2022, MetaFormer Baselines for Vision, eq. 5"
    module = "vitprof.modules.mixers.sepconv:SeparableConv"
    on_grid = True

    expand: int = expand_option()
    sepconv_kernel: int = whole(
        7,
        symbol="kernel",
        odd=True,
        maximum=10_001,
        help="sepconv: side of the depthwise kernel",
        grows=1_024,
        convex=True,
    )

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        assert sizes.grid is not None
        (B, N, D), k = x.shape, self.size("sepconv_kernel")
        E = (self.size("expand") * D).named("E")
        x = run.linear("fc1", x, E, bias=False)
        x = activate(run, "star-relu", x)
        x = x.transpose(1, 2).unflatten(2, sizes.grid)
        x = run.conv("conv", x, E, (k, k), groups=E, bias=False)
        return run.linear("fc2", x.reshape(B, E, N).transpose(1, 2), D, bias=False)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        assert sizes.grid is not None
        return {**super().arguments(sizes), "grid": tuple(side.value for side in sizes.grid)}
