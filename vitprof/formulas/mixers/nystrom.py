"""Nystrom attention (Xiong et al. 2021, Nystromformer, eqs. 13 to 17).

Q, K, V = X W_qkv + b            N x 3D, d = D / h channels for each of h heads
Q~, K~                           m x d: landmarks, the means of m segments of the tokens
F = softmax(Q K~^T / sqrt(d))    N x m
A = softmax(Q~ K~^T / sqrt(d))   m x m
G = softmax(Q~ K^T / sqrt(d))    m x N
Y = ((F Z) (G V)) W_out + b      N x D, where Z is nearly the pseudo-inverse of A:

Z_0 = A^T / (|A|_1 |A|_inf)      greatest sums of a column and of a row, the latter 1
Z = Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4     some times over, eq. 14

Segments are equally long where m divides N; where it does not, neighbours share a token, as
adaptive average pooling does. The greatest sum takes no gradient. The depthwise convolution
of V that the paper's code can add to Y is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.op import Elementwise, Inline, Linear, MatMul
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE, Size
from vitprof.options import Rule, whole


@dataclass(frozen=True, kw_only=True)
class NystromAttention(Mixer):
    """Nystrom attention: softmax attention through landmarks."""

    name = "nystrom"
    aliases = ("nystromformer",)
    summary = "Nystrom attention: the softmax matrix from landmarks, cost linear in tokens"
    source = "Xiong et al. 2021, Nystromformer, eqs. 13 to 17"
    module = "vitprof.modules.mixers.nystrom:NystromAttention"

    landmarks: int = whole(
        32,
        symbol="landmarks",
        maximum=10_000,
        help="nystrom: segments of the tokens, a landmark of each",
    )
    iterations: int = whole(
        6, symbol="iterations", maximum=1_000, help="nystrom: steps towards the pseudo-inverse"
    )
    qkv_bias: bool = qkv_bias_option()

    def admits(self, sizes: MixerSizes) -> Iterator[Rule]:
        yield from super().admits(sizes)
        tokens = sizes.tokens.value
        yield Rule(
            self.landmarks <= tokens,
            lambda: (
                f"landmarks {self.landmarks} are more than the {tokens} tokens; "
                f"landmarks can be 1 to {tokens}"
            ),
        )

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        m = self.size("landmarks")
        tokens, marks, square = (B, h, N, d), (B, h, m, d), (B, h, m, m)

        def softmax(name: str, rows: Size, columns: Size, x: T) -> T:
            return run(Elementwise(name, "softmax", "Softmax", (B, h, rows, columns)), x)

        def step(z: T) -> T:
            def identity_less(name: str, x: T) -> T:
                return run(Inline(name, "subtract from identity", square), x)

            az = run(MatMul("product", (B, h), m, m, m), a, z)
            inner = run(MatMul("inner", (B, h), m, m, m), az, identity_less("seven", az))
            middle = run(MatMul("middle", (B, h), m, m, m), az, identity_less("fifteen", inner))
            z = run(MatMul("outer", (B, h), m, m, m), z, identity_less("thirteen", middle))
            return run(Inline("quarter", "scale", square), z)

        qkv = run(Linear("qkv", (B, N), D, 3 * D, bias=self.qkv_bias), x)
        qk, v = run.parts(qkv, (B, N, 2 * D), (B, N, D))
        del qkv
        q, k = run.parts(run.reordered(qk), tokens, tokens)
        means = run(Inline("landmarks", "segment mean", (B, N, 2 * D), out=(B, m, 2 * D)), qk)
        q_marks, k_marks = run.parts(means, marks, marks)
        q = run(Inline("scale", "scale", tokens), q)
        q_marks = run(Inline("landmark_scale", "scale", marks), q_marks)
        op = MatMul("query_scores", (B, h), N, d, m)
        f = softmax(
            "query_weights", N, m, run(op, run.copy(q, B, h, N), run.copy(k_marks, B, h, m))
        )
        op = MatMul("landmark_scores", (B, h), m, d, m)
        a = softmax(
            "landmark_weights",
            m,
            m,
            run(op, run.copy(q_marks, B, h, m), run.copy(k_marks, B, h, m)),
        )
        op = MatMul("key_scores", (B, h), m, d, N)
        g = softmax("key_weights", m, N, run(op, run.copy(q_marks, B, h, m), run.copy(k, B, h)))
        sums = Inline("greatest_sum", "greatest column sum", square, out=(B, h, ONE, ONE))
        z = run(Inline("start", "divide", square), a, run(sums, a))
        for each in run.blocks("inverse", self.size("iterations"), "InverseStep", step):
            z = each(z)
        f = run(MatMul("query_inverse", (B, h), N, m, m), f, z)
        values = run(MatMul("key_values", (B, h), m, N, d), g, run.copy(v, B, h))
        y = run(MatMul("output", (B, h), N, m, d), f, values)
        y = run.reordered(y, B, h, N)
        return run(Linear("fc_out", (B, N), D, D), run.copy(y, h, N))
