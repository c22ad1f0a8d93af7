"""No mixing at all (Yu et al. 2022, MetaFormer Baselines for Vision, IdentityFormer).

Y = X                            N x D

Without parameters and without ops. What a model with it costs is the block around its
mixer, and what it learns is learned from single tokens: the lower bound of an ablation.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Identity(Mixer):
    """The tokens as they are."""

    name = "identity"
    summary = "no mixing: every token stays as it is, the lower bound of an ablation"
    source = "Yu et al. 2022, MetaFormer Baselines for Vision, IdentityFormer"
    module = "vitprof.modules.mixers.identity:IdentityMixer"

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return x
