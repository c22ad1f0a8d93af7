"""Linear attention (Katharopoulos et al. 2020, Transformers are RNNs, eqs. 4 to 7).

Q, K, V = X W_qkv + b            N x 3D
Q, K = elu(Q) + 1, elu(K) + 1    d = D / h channels for each of h heads
S = K^T V                        d x d
z = Q (sum of K over tokens)     N
Y = (Q S / z) W_out + b          N x D
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.op import Inline, Linear, MatMul
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE


@dataclass(frozen=True, kw_only=True)
class LinearAttention(Mixer):
    """Linear attention: elu(x) + 1 in place of the softmax."""

    name = "linear"
    summary = "linear attention: elu(x) + 1 in place of the softmax, cost linear in tokens"
    source = "Katharopoulos et al. 2020, Transformers are RNNs, eqs. 4 to 7"
    module = "vitprof.modules.mixers.linear_attention:LinearAttention"

    qkv_bias: bool = qkv_bias_option()

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        tokens = (B, h, N, d)

        def normalizer(key_sum: T) -> T:
            op = MatMul("normalizer", (B, h), N, d, ONE)
            return run(op, run.copy(q, B, h, N), key_sum)

        qkv = run(Linear("qkv", (B, N), D, 3 * D, bias=self.qkv_bias), x)
        q, k, v = run.parts(run.reordered(qkv), *3 * [tokens])
        q = run(Inline("q_plus_one", "add", tokens), run(Inline("q_elu", "elu", tokens), q))
        k = run(Inline("k_plus_one", "add", tokens), run(Inline("k_elu", "elu", tokens), k))
        state = run(
            MatMul("key_values", (B, h), d, N, d), run.copy(k, B, h, N), run.copy(v, B, h, N)
        )
        sums = normalizer(run(Inline("key_sum", "sum", tokens, out=(B, h, d)), k))
        y = run(MatMul("output", (B, h), N, d, d), run.copy(q, B, h, N), state)
        y = run.reordered(y, B, h, N)
        y = run(Inline("division", "divide", tokens), y, sums)
        return run(Linear("fc_out", (B, N), D, D), run.copy(y, h, N))
