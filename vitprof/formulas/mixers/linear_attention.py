"""Linear attention (Katharopoulos et al. 2020, Transformers are RNNs, eqs. 4 to 7).

Q, K, V = X W_qkv + b            N x 3D
Q, K = elu(Q) + 1, elu(K) + 1    d = D / h channels for each of h heads
S = K^T V                        d x d
z = Q (sum of K over tokens)     N
Y = (Q S / z) W_out + b          N x D
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.layer import Layer
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.op import Inline, Linear, MatMul
from vitprof.formulas.size import ONE


@dataclass(frozen=True, kw_only=True)
class LinearAttention(Mixer):
    """Linear attention: elu(x) + 1 in place of the softmax."""

    name = "linear"
    summary = "linear attention: elu(x) + 1 in place of the softmax, cost linear in tokens"
    source = "Katharopoulos et al. 2020, Transformers are RNNs, eqs. 4 to 7"
    module = "vitprof.modules.mixers.linear_attention:LinearAttention"

    def formula(self, sizes: MixerSizes) -> Layer:
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        return Layer(
            "mixer",
            "LinearAttention",
            (
                Linear("qkv", (B, N), D, 3 * D),
                Inline("feature_map", "elu", (2 * B, h, N, d)),
                MatMul("key_values", (B, h), d, N, d),
                Inline("key_sum", "sum", (B, h, N, d)),
                MatMul("normalizer", (B, h), N, d, ONE),
                MatMul("output", (B, h), N, d, d),
                Inline("division", "divide", (B, h, N, d)),
                Linear("fc_out", (B, N), D, D),
            ),
        )
