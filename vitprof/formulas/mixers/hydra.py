"""Hydra attention (Bolya et al. 2022, Efficient Attention with Many Heads, section 3).

Q, K, V = X W_qkv + b            N x 3D
phi(x) = x / |x|                 over each token's D channels: cosine similarity
S = sum of phi(K) * V            D, elementwise product, sum over the tokens
Y = (phi(Q) * S) W_out + b       N x D

There are as many heads as channels: a head has one channel, and all products are
elementwise. The option `heads` has no effect.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Hydra(Mixer):
    """Hydra attention: as many heads as channels, with cosine similarity."""

    name = "hydra"
    summary = "hydra attention: as many heads as channels, every product elementwise"
    source = "Bolya et al. 2022, Hydra Attention: Efficient Attention with Many Heads, section 3"
    module = "vitprof.modules.mixers.hydra:Hydra"

    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        D = sizes.dim
        q, k, v = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).split((D, D, D), -1)
        q = run.l2_norm("query_norm", q)
        k = run.l2_norm("key_norm", k)
        total = run.sum("sum", run.multiply("key_values", k, v), 1, keepdim=True)
        return run.linear("fc_out", run.multiply("output", q, total), D, bias=self.proj_bias)
