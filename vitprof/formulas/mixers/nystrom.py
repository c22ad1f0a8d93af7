"""Nystrom attention (Xiong et al. 2021, Nystromformer, eqs. 13 to 17).

Q, K, V = X W_qkv + b            N x 3D, d = D / h channels for each of h heads
Q~, K~                           m x d: landmarks, the means of m segments of N / m tokens
F = softmax(Q K~^T / sqrt(d))    N x m
A = softmax(Q~ K~^T / sqrt(d))   m x m
G = softmax(Q~ K^T / sqrt(d))    m x N
Y = ((F Z) (G V)) W_out + b      N x D, with Z an approximate pseudo-inverse of A:

Z_0 = A^T / (|A|_1 |A|_inf)      maximum column sum and maximum row sum, which is 1
Z = Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4     several iterations, eq. 14

m divides N, so that each token is in one segment and all segments are equal. The maximum column
sum takes no gradient. The optional depthwise convolution of V, which the paper's code adds to Y,
is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

from vitprof.errors import listing
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, divisors, whole

_SHOWN = 12  # numbers listed in a sentence


@dataclass(frozen=True, kw_only=True)
class NystromAttention(Mixer):
    """Nystrom attention: softmax attention through landmarks."""

    name = "nystrom"
    aliases = ("nystromformer",)
    summary = "Nystrom attention: the softmax matrix from landmarks, cost linear in tokens"
    source = "Xiong et al. 2021, Nystromformer, eqs. 13 to 17"
    module = "vitprof.modules.mixers.nystrom:NystromAttention"

    landmarks: int = whole(
        7,
        symbol="landmarks",
        maximum=10_000,
        help="nystrom: equal segments of the tokens, each with one landmark",
    )
    iterations: int = whole(
        6,
        symbol="iterations",
        maximum=1_000,
        help="nystrom: iterations for the pseudo-inverse",
        grows=1_000,
    )
    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    @property
    def divisor(self) -> int:
        return self.landmarks

    def admits(self, sizes: MixerSizes) -> Iterator[Constraint]:
        yield from super().admits(sizes)
        fit = sizes.tokens.value % self.landmarks == 0
        yield Constraint(fit, lambda: _do_not_divide(self.landmarks, sizes))

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        m = self.size("landmarks")

        def step(z: Tensor) -> Tensor:
            az = run.matmul("product", a, z)
            inner = run.matmul("inner", az, run.subtract_from_identity("seven", az))
            middle = run.matmul("middle", az, run.subtract_from_identity("fifteen", inner))
            z = run.matmul("outer", z, run.subtract_from_identity("thirteen", middle))
            return run.scale("quarter", z, quotient=True)

        def start(a: Tensor) -> Tensor:
            greatest = run.greatest_column_sum("greatest_sum", a.detach())
            return run.divide("start", a.mT, greatest)

        qk, v = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).split((2 * D, D), -1)
        q, k = qk.reshape(B, N, 2, h, d).permute(2, 0, 3, 1, 4).unbind(0)
        v = v.reshape(B, N, h, d).transpose(1, 2)
        means = run.mean("landmarks", qk.reshape(B, m, N // m, 2 * D), 2)
        q_marks, k_marks = means.reshape(B, m, 2, h, d).permute(2, 0, 3, 1, 4).unbind(0)
        q = run.scale("scale", q)
        q_marks = run.scale("landmark_scale", q_marks)
        k_marks = k_marks.mT
        f = run.softmax("query_weights", run.matmul("query_scores", q, k_marks), -1)
        a = run.softmax("landmark_weights", run.matmul("landmark_scores", q_marks, k_marks), -1)
        g = run.softmax("key_weights", run.matmul("key_scores", q_marks, k.mT), -1)
        z = start(a)
        for each in run.blocks("inverse", self.size("iterations"), "InverseStep", step):
            z = each(z)
        f = run.matmul("query_inverse", f, z)
        values = run.matmul("key_values", g, v)
        y = run.matmul("output", f, values)
        return run.linear("fc_out", y.transpose(1, 2).reshape(B, N, D), D, bias=self.proj_bias)


def _do_not_divide(landmarks: int, sizes: MixerSizes) -> str:
    stages = {sizes.tokens.value: None, **{size.value: None for size in sizes.beside}}
    possible = divisors(gcd(*stages))
    near = sorted(sorted(possible, key=lambda number: abs(number - landmarks))[:_SHOWN])
    if len(possible) == 1:
        numbers = "the only number that does is 1"
    elif len(near) == len(possible):
        numbers = f"the numbers that do are {listing(near, 'and')}"
    else:
        numbers = f"the nearest numbers that do are {listing(near, 'and')}"
    tokens = "1 token" if [*stages] == [1] else f"{listing(stages, 'and')} tokens"
    sentence = f"{landmarks} landmarks do not divide {tokens}; {numbers}"
    return f"{sentence}; {sizes.without_prefix}" if sizes.without_prefix else sentence
