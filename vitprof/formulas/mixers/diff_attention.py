"""Differential attention (Ye et al. 2024, Differential Transformer, eqs. 1 to 3).

Q, K, V = X W_qkv + b                         N x 3D
Q_1, Q_2, K_1, K_2                            N x d for each head, d = D / 2h
A_i = softmax(Q_i K_i^T / sqrt(d))            N x N, two for each of h heads
lambda = exp(q_1 k_1) - exp(q_2 k_2) + 0.8    four learned vectors of d
Y = 0.2 RMSNorm((A_1 - lambda A_2) V) W + b   N x D; V of N x 2d for each head

The norm is of the 2d channels of each head, with a gain that the heads share, as they share lambda.
So h heads have two matrices of weights each, and half as many heads cost as much as attention's.
The paper's initial lambda grows with the depth, from 0.2 to 0.8; here the blocks are equal, and it
is 0.8, as in one of its ablations.

The parameters are those of `MultiheadDiffAttn` of microsoft/unilm, which has no biases and causal
attention, and of `DiffAttention` of timm 1.0.31, which has one of the output alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import Size


@dataclass(frozen=True, kw_only=True)
class DiffAttention(Mixer):
    """Softmax attention less a second one, by a learned factor."""

    name = "diff"
    aliases = ("diff-attn",)
    summary = "differential attention: one softmax attention less another, by a learned factor"
    source = "Ye et al. 2024, Differential Transformer, eqs. 1 to 3"
    module = "vitprof.modules.mixers.diff_attention:DiffAttention"
    halves_heads = True

    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h = x.shape, sizes.heads
        d, two = (sizes.head_dim // 2).named("d"), Size(2)
        lambdas = [run.parameter(f"lambda_{name}", d) for name in ("q1", "k1", "q2", "k2")]
        q, k, v = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).split((D, D, D), -1)
        q = run.scale("scale", q.reshape(B, N, 2 * h, d).transpose(1, 2))
        k = k.reshape(B, N, 2 * h, d).transpose(1, 2)
        v = v.reshape(B, N, h, sizes.head_dim).transpose(1, 2)
        a = run.softmax("weights", run.matmul("scores", q, k.mT), -1)
        a = self._difference(run, a.reshape(B, h, two, N, N), lambdas)
        y = run.rms_norm("norm", run.matmul("output", a, v))
        y = run.scale("rescale", y)
        return run.linear("fc_out", y.transpose(1, 2).reshape(B, N, D), D, bias=self.proj_bias)

    def _difference(self, run: Run, a: Tensor, lambdas: list[Tensor]) -> Tensor:
        """Return A of the weights (B, h, 2, N, N)."""
        first, second = a.unbind(2)
        q1, k1, q2, k2 = lambdas
        one = run.exp("exp_1", run.sum("sum_1", run.multiply("product_1", q1, k1), 0))
        other = run.exp("exp_2", run.sum("sum_2", run.multiply("product_2", q2, k2), 0))
        factor = run.add("lambda", run.subtract("lambdas", one, other))
        return run.subtract("difference", first, run.multiply("second", second, factor))
