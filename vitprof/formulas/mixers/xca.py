"""Cross-covariance attention (El-Nouby et al. 2021, XCiT, section 3).

Q, K, V = X W_qkv + b              d x N for each of h heads, d = D / h
Q, K = Q / |Q|, K / |K|            each channel, along the tokens
A = softmax(t Q K^T)               d x d, t learned for each head: the paper's 1 / tau
Y = (A V)^T W_out + b              N x D

XCiT's block has a local patch interaction besides, `vitprof.formulas.parts.patch_interaction`.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import ONE


@dataclass(frozen=True, kw_only=True)
class CrossCovarianceAttention(Mixer):
    """Cross-covariance attention: channels attend to channels."""

    name = "xca"
    summary = "cross-covariance attention: channels attend to channels, cost linear in tokens"
    source = "El-Nouby et al. 2021, XCiT, section 3"
    module = "vitprof.modules.mixers.xca:CrossCovarianceAttention"

    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        temperature = run.parameter("temperature", h, ONE, ONE)
        qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).reshape(B, N, 3, h, d)
        qkv = qkv.permute(2, 0, 3, 4, 1).contiguous()
        q, k, v = qkv.unbind(0)
        q = run.l2_norm("query_norm", q)
        k = run.l2_norm("key_norm", k)
        a = run.multiply("scale", run.matmul("scores", q, k.mT), temperature)
        y = run.matmul("output", run.softmax("weights", a, -1), v)
        y = y.reshape(B, D, N).transpose(1, 2).contiguous()
        return run.linear("fc_out", y, D, bias=self.proj_bias)
