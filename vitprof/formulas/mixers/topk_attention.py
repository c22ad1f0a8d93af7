"""Top-k attention (Zhao et al. 2019, Explicit Sparse Transformer, eqs. 4 to 7).

Q, K, V = X W_qkv + b          N x 3D
P = Q K^T / sqrt(d)            N x N for each of h heads, d = D / h
M = P where P >= t, else -inf  t, of N x 1, the k-th largest of each row
Y = (softmax(M) V) W_out + b   N x D

The k nearest tokens of each query are so chosen as in KVT (Wang et al. 2021, `kNNAttention` of
damo-cv/KVT, whose k is 100 of 197 tokens at every depth); of fewer tokens than k, all. The choice
takes no gradient. All scores are computed, and both products are of N x N: there are as many
multiply-accumulates as in softmax attention, and more memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import whole
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class TopKAttention(Mixer):
    """Softmax attention to the keys with the highest scores of each query."""

    name = "topk"
    aliases = ("knn",)
    summary = "top-k attention: every token attends to the k tokens of the highest scores"
    source = "Zhao et al. 2019, Explicit Sparse Transformer, eqs. 4 to 7"
    module = "vitprof.modules.mixers.topk_attention:TopKAttention"

    top_k: int = whole(
        32, maximum=100_000, help="topk: keys of each query; all of them if there are fewer"
    )
    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).reshape(B, N, 3, h, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q = run.scale("scale", q)
        a = self._masked(run, run.matmul("scores", q, k.mT))
        y = run.matmul("output", run.softmax("weights", a, -1), v)
        return run.linear("fc_out", y.transpose(1, 2).reshape(B, N, D), D, bias=self.proj_bias)

    def _masked(self, run: Run, a: Tensor) -> Tensor:
        """Return scores with -inf for all but the k highest of each query."""
        tokens = a.shape[-1].value
        number = min(self.top_k, tokens) if isinstance(tokens, int) else self.top_k
        highest = run.topk("highest", a.detach(), Size(number, "k"))
        return run.mask_below("mask", a, highest.narrow(-1, number - 1, ONE))
