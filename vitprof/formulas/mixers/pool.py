"""Pooling (Yu et al. 2022, MetaFormer Is Actually What You Need for Vision, eq. 4).

Y[i, j] = mean of X over the K x K tokens around (i, j) - X[i, j]        N x D

The tokens form a grid of rows and columns; at its edge the mean is over the tokens inside
(`count_include_pad=False` in the paper's code). The subtraction cancels the residual
around the mixer. There are no parameters, and a mean is no contraction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import whole


@dataclass(frozen=True, kw_only=True)
class Pool(Mixer):
    """The mean of a token's neighbours minus the token."""

    name = "pool"
    aliases = ("poolformer",)
    summary = "average pooling: the mean of a token's neighbours on a grid, minus the token"
    source = "Yu et al. 2022, MetaFormer Is Actually What You Need for Vision, eq. 4"
    module = "vitprof.modules.mixers.pool:Pool"
    on_grid = True

    pool_size: int = whole(
        3,
        symbol="pool",
        odd=True,
        maximum=10_001,
        help="pool: side of the pooled square",
        grows=1_024,
        convex=True,
    )

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        assert sizes.grid is not None
        B, N, D = x.shape
        x = x.transpose(1, 2).unflatten(2, sizes.grid)
        y = run.subtract("difference", run.avg_pool("pool", x), x)
        return y.reshape(B, D, N).transpose(1, 2)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        assert sizes.grid is not None
        return {**super().arguments(sizes), "grid": tuple(side.value for side in sizes.grid)}
