"""Performer (Choromanski et al. 2021, Rethinking Attention with Performers): FAVOR+.

Q, K, V = X W_qkv + b                N x 3D, d = D / h channels for each of h heads
phi(x) = exp(W x - |x|^2 / 2)        m features, eqs. 5 and 7, of x / d^(1/4)
S = phi(K)^T V                       m x d
z = phi(Q) (sum of phi(K))           N
Y = (phi(Q) S / z) W_out + b         N x D, eq. 4

W is m x d, random and never trained: blocks of d orthogonal rows (section 2.4), each with the
norm of a Gaussian vector. phi(q) phi(k)^T / m is an unbiased estimate of exp(q k^T / sqrt(d)).

As in the paper's code, the maximum of W x, over each query and over all keys of a head, is
subtracted against overflow, and 10^-4 is added to phi, so that z is never zero. The maximum,
which takes no gradient, and the paper's 1 / sqrt(m) cancel in Y.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import whole


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
        help="performer: number of random features of a query and a key",
        grows=1_024,
        convex=True,
    )
    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        projection = run.buffer("projection", d, self.size("features"))

        def features(name: str, x: Tensor, dims: tuple[int, ...]) -> Tensor:
            x = run.scale(f"{name}_scale", x)
            projected = run.matmul(f"{name}_features", x, projection)
            offset = run.sum(f"{name}_norm", run.square(f"{name}_square", x), -1, keepdim=True)
            offset = run.scale(f"{name}_half", offset, quotient=True)
            offset = run.add(
                f"{name}_offset",
                offset,
                run.maximum(f"{name}_maximum", projected.detach(), *dims),
            )
            y = run.exp(f"{name}_exp", run.subtract(f"{name}_exponent", projected, offset))
            return run.add(f"{name}_plus_epsilon", y)

        qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).reshape(B, N, 3, h, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q = features("query", q, (-1,))
        k = features("key", k, (-2, -1))
        state = run.matmul("key_values", k.mT, v)
        sums = run.matmul("normalizer", q, run.sum("key_sum", k, 2).unsqueeze(-1))
        y = run.divide("division", run.matmul("output", q, state), sums)
        return run.linear("fc_out", y.transpose(1, 2).reshape(B, N, D), D, bias=self.proj_bias)
