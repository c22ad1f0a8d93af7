"""A neck: convolutions that map the patches of an encoder to fewer channels.

X W_1            N x C, a convolution of 1 x 1
norm
conv(X, W_2)     N x C, a convolution of 3 x 3 on the grid of the patches
norm

Neither convolution has a bias (Li et al. 2022, ViTDet, in its code; Kirillov et al. 2023, Segment
Anything, in its code, with layer norms of the channels).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from vitprof.formulas.parts.norms import NormOptions
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import needing, whole
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class NeckOptions(NormOptions):
    """The neck of a model that returns its patches."""

    neck: int = needing(
        whole(
            0,
            minimum=0,
            help="channels of convolutions of 1 x 1 and 3 x 3 on the patches that are returned, as "
            "in SAM; 0 for none",
        ),
        {"pool": ("none",)},
    )

    def run_neck(self, run: Run, grid: tuple[Size, Size], x: Tensor) -> Tensor:
        """Run the neck on patches of a grid: (B, N, D) to (B, N, C)."""
        return run.layer("neck", "Neck", partial(self._neck, run, grid), x)

    def _neck(self, run: Run, grid: tuple[Size, Size], x: Tensor) -> Tensor:
        channels = Size(self.neck, "neck")
        for place, side in enumerate((ONE, Size(3)), 1):
            B, N, _ = x.shape
            x = x.transpose(1, 2).unflatten(2, grid)
            x = run.conv(f"conv{place}", x, channels, (side, side), bias=False)
            x = x.reshape(B, channels, N).transpose(1, 2)
            x = self.normalise(run, f"norm{place}", x)
        return x
