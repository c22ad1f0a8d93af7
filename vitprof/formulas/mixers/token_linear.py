"""One linear layer across tokens (Touvron et al. 2021, ResMLP, eq. 2).

Y = A X + b                      N x D, A of N x N

Every channel goes through the same layer. The paper's affine maps around it, in place of
a norm and of LayerScale, belong to the block (`--norm affine --layer-scale`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class TokenLinear(Mixer):
    """A linear layer across tokens."""

    name = "token-linear"
    aliases = ("resmlp",)
    summary = "linear layer across tokens, the same for every channel, as in ResMLP"
    source = "Touvron et al. 2021, ResMLP, eq. 2"
    module = "vitprof.modules.mixers.token_linear:TokenLinear"

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        return run.linear("fc", x.transpose(1, 2).contiguous(), sizes.tokens).transpose(1, 2)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {**super().arguments(sizes), "tokens": sizes.tokens.value}
