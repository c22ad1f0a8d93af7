"""Random mixing (Yu et al. 2022, MetaFormer Baselines for Vision, eq. 3).

Y = A X                          N x D, A of N x N

A is the softmax, along its rows, of uniform random numbers. It is made once and not trained, and
the same for every channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class RandomMixing(Mixer):
    """A random matrix across tokens, which is not trained."""

    name = "random"
    aliases = ("randformer",)
    summary = "random mixing: a matrix across tokens that is not trained, as in RandFormer"
    source = "Yu et al. 2022, MetaFormer Baselines for Vision, eq. 3"
    module = "vitprof.modules.mixers.random:RandomMixing"

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        N = sizes.tokens
        matrix = run.parameter("matrix", N, N, trained=False)
        return run.matmul("mix", x.mT, matrix.mT).mT

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {**super().arguments(sizes), "tokens": sizes.tokens.value}
