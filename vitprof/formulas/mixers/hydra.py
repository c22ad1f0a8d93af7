"""Hydra attention (Bolya et al. 2022, Efficient Attention with Many Heads, section 3).

Q, K, V = X W_qkv + b            N x 3D
phi(x) = x / |x|                 of each token's D channels, the cosine similarity
S = sum of phi(K) * V            D, element by element, over the tokens
Y = (phi(Q) * S) W_out + b       N x D

As many heads as channels: a head has one channel, and all products are element by element.
`heads` changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.op import Inline, Linear
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE


@dataclass(frozen=True, kw_only=True)
class Hydra(Mixer):
    """Hydra attention: as many heads as channels, with cosine similarity."""

    name = "hydra"
    summary = "hydra attention: as many heads as channels, every product element by element"
    source = "Bolya et al. 2022, Hydra Attention: Efficient Attention with Many Heads, section 3"
    module = "vitprof.modules.mixers.hydra:Hydra"

    qkv_bias: bool = qkv_bias_option()

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D = sizes.batch, sizes.tokens, sizes.dim
        tokens = (B, N, D)
        qkv = run(Linear("qkv", (B, N), D, 3 * D, bias=self.qkv_bias), x)
        q, k, v = run.parts(qkv, *3 * [tokens])
        q = run(Inline("query_norm", "l2 norm", tokens), q)
        k = run(Inline("key_norm", "l2 norm", tokens), k)
        total = run(
            Inline("sum", "sum", tokens, out=(B, ONE, D)),
            run(Inline("key_values", "multiply", tokens), k, v),
        )
        y = run(Inline("output", "multiply", tokens), q, total)
        return run(Linear("fc_out", (B, N), D, D), y)
