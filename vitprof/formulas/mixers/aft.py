"""AFT-full (Zhai et al. 2021, An Attention Free Transformer, eq. 2).

Q, K, V = X W_qkv + b            N x 3D
E = exp(w)                       N x N, w learned: a bias for each pair of positions
Z = E (exp(K) * V) / E exp(K)    N x D, product and quotient element by element
Y = sigmoid(Q) * Z               N x D

This is the weighted mean of eq. 2 with its exponentials exp(k_t' + w_tt') written as
products, so that two contractions compute it. Factorised, w is U V of N x b and b x N, in the
paper with b = 128; their product is computed once for all images. Before the exponentials,
the maximum of each channel of K and of each row of w is subtracted, which cancels in the
quotient. The equation has neither heads nor an output layer, nor has this mixer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import flag, needing, whole


@dataclass(frozen=True, kw_only=True)
class AttentionFree(Mixer):
    """AFT-full: a mean of the values, weighted by keys and position pairs, times a gate."""

    name = "aft"
    summary = "attention free: values weighted by keys and position pairs, gated by queries"
    source = "Zhai et al. 2021, An Attention Free Transformer, eq. 2"
    module = "vitprof.modules.mixers.aft:AttentionFree"

    factorised: bool = flag(
        False, help="aft: position biases as a product of two low-rank matrices"
    )
    bias_dim: int = needing(
        whole(
            128,
            symbol="b",
            help="aft: rank of the position biases, if factorised",
            grows=1_024,
            convex=True,
        ),
        {"factorised": (True,)},
    )
    qkv_bias: bool = qkv_bias_option()

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        B, N, D = x.shape

        def exponential(name: str, x: Tensor) -> Tensor:
            shifted = run.subtract(f"{name}_shift", x, run.maximum(f"{name}_max", x.detach(), 1))
            return run.exp(f"{name}_exp", shifted)

        def tokens_first(x: Tensor) -> Tensor:
            return x.transpose(0, 1).flatten(1)

        def position_weights() -> Tensor:
            if self.factorised:
                b = self.size("bias_dim")
                rows = run.parameter("position_rows", N, b)
                columns = run.parameter("position_columns", b, N)
                w = run.matmul("position_product", rows, columns)
            else:
                w = run.parameter("positions", N, N)
            return exponential("position", w)

        q, k, v = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).split((D, D, D), -1)
        k = exponential("key", k)
        w = position_weights()
        y = run.matmul("numerator", w, tokens_first(run.multiply("weighted_values", k, v)))
        y = run.divide("division", y, run.matmul("denominator", w, tokens_first(k)))
        gate = run.activation("gate", "sigmoid", q)
        return run.multiply("gating", gate, y.reshape(N, B, D).transpose(0, 1))

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {"dim": sizes.dim.value, "tokens": sizes.tokens.value, **self.values()}
