"""No mixing (Yu et al. 2022, MetaFormer Baselines for Vision, IdentityFormer).

Y = X                            N x D

It has no parameters and no ops. A model with it shows the cost of the blocks without a
mixer, and the accuracy without mixing of tokens: the lower bound of an ablation.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Identity(Mixer):
    """The tokens, unchanged."""

    name = "identity"
    summary = "no mixing: the tokens unchanged, the lower bound of an ablation"
    source = "Yu et al. 2022, MetaFormer Baselines for Vision, IdentityFormer"
    module = "vitprof.modules.mixers.identity:IdentityMixer"

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return x
