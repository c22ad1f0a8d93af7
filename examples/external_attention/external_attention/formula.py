"""External attention (Guo et al. 2021, Beyond Self-attention, eqs. 5 and 6).

A = softmax(X M_k^T)             N x S, the softmax along the tokens
A = A / sum of A over S          each token's shares of the memory
Y = A M_v                        N x D

M_k and M_v, S x D each, are learned and the same for every image.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import whole


@dataclass(frozen=True, kw_only=True)
class ExternalAttention(Mixer):
    """Attention to a small learned memory in place of the other tokens."""

    name = "external"
    summary = "external attention: tokens look at a small learned memory, cost linear in tokens"
    source = "Guo et al. 2021, Beyond Self-attention, eqs. 5 and 6"
    module = "external_attention.module:ExternalAttention"

    memory_units: int = whole(
        64, symbol="S", help="external: units of the learned memory", grows=1_024, convex=True
    )

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        S, D = self.size("memory_units"), sizes.dim
        a = run.softmax("softmax", run.linear("keys", x, S, bias=False), 1)
        a = run.divide("normalisation", a, run.sum("sums", a, -1, keepdim=True))
        return run.linear("values", a, D, bias=False)
