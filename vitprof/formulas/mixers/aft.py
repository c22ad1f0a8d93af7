"""AFT-full (Zhai et al. 2021, An Attention Free Transformer, eq. 2).

Q, K, V = X W_qkv + b            N x 3D
E = exp(w)                       N x N, w learnt: a bias for each pair of places
Z = E (exp(K) * V) / E exp(K)    N x D, product and quotient element by element
Y = sigmoid(Q) * Z               N x D

This is the weighted mean of eq. 2, its exponentials exp(k_t' + w_tt') written as products,
so that two contractions make it. Factorised, w is U V of N x b and b x N, as the paper has
it with b = 128; their product is made once for all images. Before the exponentials the
most of each channel of K, and of each row of w, is subtracted, which divides numerator and
denominator alike. Neither heads nor an output layer are in the equation, nor here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.op import Elementwise, Inline, Linear, MatMul, Parameter, Shape
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE
from vitprof.options import flag, whole


@dataclass(frozen=True, kw_only=True)
class AttentionFree(Mixer):
    """AFT-full: a mean of the values, weighted by keys and pairs of places, times a gate."""

    name = "aft"
    summary = "attention free: values weighted by keys and pairs of places, gated by queries"
    source = "Zhai et al. 2021, An Attention Free Transformer, eq. 2"
    module = "vitprof.modules.mixers.aft:AttentionFree"

    factorised: bool = flag(False, help="aft: position biases as a product of two thin tables")
    bias_dim: int = whole(128, symbol="b", help="aft: width of the two tables, if factorised")
    qkv_bias: bool = qkv_bias_option()

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, b = sizes.batch, sizes.tokens, sizes.dim, self.size("bias_dim")
        tokens = (B, N, D)

        def exponential(name: str, x: T, shape: Shape, most: Shape) -> T:
            shifted = run(
                Inline(f"{name}_shift", "subtract", shape),
                x,
                run(Inline(f"{name}_max", "maximum", shape, out=most), x),
            )
            return run(Inline(f"{name}_exp", "exp", shape), shifted)

        def position_weights() -> T:
            if self.factorised:
                rows = run(Parameter("position_rows", (N, b), trained=True))
                columns = run(Parameter("position_columns", (b, N), trained=True))
                biases = run(MatMul("position_product", (), N, b, N), rows, columns)
            else:
                biases = run(Parameter("positions", (N, N), trained=True))
            return exponential("position", biases, (N, N), (N, ONE))

        q, k, v = run.parts(
            run(Linear("qkv", (B, N), D, 3 * D, bias=self.qkv_bias), x), *3 * [tokens]
        )
        k = exponential("key", k, tokens, (B, ONE, D))
        w = position_weights()
        y = run(
            MatMul("numerator", (), N, N, B * D),
            w,
            run.copy(run(Inline("weighted_values", "multiply", tokens), k, v), B, N),
        )
        y = run(
            Inline("division", "divide", tokens),
            y,
            run(MatMul("denominator", (), N, N, B * D), w, run.copy(k, B, N)),
        )
        gate = run(Elementwise("gate", "sigmoid", "Sigmoid", tokens), q)
        return run(Inline("gating", "multiply", tokens), gate, run.reordered(y, B, N))

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {"dim": sizes.dim.value, "tokens": sizes.tokens.value, **self.values()}
