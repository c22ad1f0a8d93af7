"""A global filter (Rao et al. 2021, GFNet, section 3).

X~ = F(X)                        complex, R x C x D on a grid of R rows and C columns
X~ = K * X~                      K of R x (C / 2 + 1) x D complex weights, element by element
Y = F^-1(X~)                     N x D, real

The transforms are over rows and columns, each divided by the square root of N. The spectrum
of real numbers is symmetric, so only C / 2 + 1 of its columns, rounded down, are computed.
K is stored as pairs of real numbers. Transforms and product are no contractions; they are
listed as not counted, with the usual FLOPs of the fast algorithm beside them
(`vitprof.formulas.op.FFT`). Everything is computed in fp32 at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import Size


@dataclass(frozen=True, kw_only=True)
class Filter(Mixer):
    """A learned complex weight for each frequency of the grid and each channel."""

    name = "filter"
    aliases = ("gfnet",)
    summary = "global filter: a learned weight for each frequency of the grid and each channel"
    source = "Rao et al. 2021, Global Filter Networks for Image Classification, section 3"
    module = "vitprof.modules.mixers.filter:Filter"
    on_grid = True

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        assert sizes.grid is not None
        (B, N, D), (rows, columns) = x.shape, sizes.grid
        odd = Size(columns.value % 2, "columns mod 2")
        half = ((columns - odd) // 2 + 1).named("frequencies")
        weight = run.parameter("complex_weight", rows, half, D, Size(2))
        y = run.rfft2("fft", x.reshape(B, rows, columns, D), half)
        y = run.complex_multiply("filtering", y, weight.exact().view_as_complex())
        return run.irfft2("inverse_fft", y, columns, x).reshape(B, N, D)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        assert sizes.grid is not None
        rows, columns = sizes.grid
        return {"dim": sizes.dim.value, "rows": rows.value, "columns": columns.value}
