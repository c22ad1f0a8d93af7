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
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class LinearAttention(Mixer):
    """Linear attention: elu(x) + 1 in place of the softmax."""

    name = "linear"
    summary = "linear attention: elu(x) + 1 in place of the softmax, cost linear in tokens"
    source = "Katharopoulos et al. 2020, Transformers are RNNs, eqs. 4 to 7"
    module = "vitprof.modules.mixers.linear_attention:LinearAttention"

    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).reshape(B, N, 3, h, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q = run.add("q_plus_one", run.elu("q_elu", q))
        k = run.add("k_plus_one", run.elu("k_elu", k))
        state = run.matmul("key_values", k.mT, v)
        sums = run.matmul("normalizer", q, run.sum("key_sum", k, 2).unsqueeze(-1))
        y = run.divide("division", run.matmul("output", q, state), sums)
        return run.linear("fc_out", y.transpose(1, 2).reshape(B, N, D), D, bias=self.proj_bias)
