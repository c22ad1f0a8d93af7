"""Performer (Choromanski et al. 2021, Rethinking Attention with Performers): FAVOR+.

Q, K, V = X W_qkv + b                N x 3D, d = D / h channels for each of h heads
phi(x) = exp(W x - |x|^2 / 2)        m features, eqs. 5 and 7, of x / d^(1/4)
S = phi(K)^T V                       m x d
z = phi(Q) (sum of phi(K))           N
Y = (phi(Q) S / z) W_out + b         N x D, eq. 4

W is m x d, random and never trained: blocks of d orthogonal rows (section 2.4), each as long
as a Gaussian vector. Where attention would take softmax(q k^T / sqrt(d)), phi(q) phi(k)^T / m
is right on average.

As in the paper's code, phi is kept from overflow: from W x its maximum is subtracted, of each
query, and of all keys of a head; and 10^-4 is added to phi, so that z is never zero. The
maximum, which takes no gradient, and the paper's 1 / sqrt(m) divide out of Y.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.op import Buffer, Inline, Linear, MatMul
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE, Size
from vitprof.options import whole


@dataclass(frozen=True, kw_only=True)
class Performer(Mixer):
    """Performer: positive random features in place of the softmax."""

    name = "performer"
    summary = "performer: positive random features in place of the softmax, cost linear in tokens"
    source = "Choromanski et al. 2021, Rethinking Attention with Performers, eqs. 4 to 7"
    module = "vitprof.modules.mixers.performer:Performer"

    features: int = whole(
        64,
        symbol="features",
        maximum=100_000,
        help="performer: random features of a query and a key",
    )
    qkv_bias: bool = qkv_bias_option()

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        m, tokens = self.size("features"), (B, h, N, d)

        def features(name: str, x: T, highest: tuple[Size, ...]) -> T:
            each, rows = (B, h, N, m), (B, h, N, ONE)
            x = run(Inline(f"{name}_scale", "scale", tokens), x)
            op = MatMul(f"{name}_features", (B, h), N, d, m)
            projected = run(op, run.copy(x, h, N), projection)
            offset = run(
                Inline(f"{name}_norm", "sum", tokens, out=rows),
                run(Inline(f"{name}_square", "square", tokens), x),
            )
            offset = run(Inline(f"{name}_half", "scale", rows), offset)
            offset = run(
                Inline(f"{name}_offset", "add", rows),
                offset,
                run(Inline(f"{name}_maximum", "maximum", each, out=highest), projected),
            )
            exponent = Inline(f"{name}_exponent", "subtract", each)
            y = run(Inline(f"{name}_exp", "exp", each), run(exponent, projected, offset))
            return run(Inline(f"{name}_plus_epsilon", "add", each), y)

        def normalizer(key_sum: T) -> T:
            return run(MatMul("normalizer", (B, h), N, m, ONE), q, key_sum)

        projection = run(Buffer("projection", (d, m)))
        qkv = run(Linear("qkv", (B, N), D, 3 * D, bias=self.qkv_bias), x)
        q, k, v = run.parts(run.reordered(qkv), *3 * [tokens])
        q = features("query", q, (B, h, N, ONE))
        k = features("key", k, (B, h, ONE, ONE))
        state = run(MatMul("key_values", (B, h), m, N, d), k, run.copy(v, B, h))
        sums = normalizer(run(Inline("key_sum", "sum", (B, h, N, m), out=(B, h, m)), k))
        y = run(MatMul("output", (B, h), N, m, d), q, state)
        y = run.reordered(y, B, h, N)
        y = run(Inline("division", "divide", tokens), y, sums)
        return run(Linear("fc_out", (B, N), D, D), run.copy(y, h, N))
