"""Multi-head self-attention (Vaswani et al. 2017, eq. 1).

Q, K, V = X W_qkv + b            N x 3D
A = softmax(Q K^T / sqrt(d))     N x N for each of h heads, d = D / h
Y = (A V) W_out + b              N x D
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.op import Elementwise, FusedAttention, Inline, Linear, MatMul
from vitprof.formulas.run import Run, T
from vitprof.options import flag


@dataclass(frozen=True, kw_only=True)
class Attention(Mixer):
    """Softmax attention; `fused` spells the products as one kernel."""

    name = "attn"
    aliases = ("attention",)
    summary = "softmax attention: every token looks at every token"
    source = "Vaswani et al. 2017, Attention Is All You Need, eq. 1"
    module = "vitprof.modules.mixers.attention:Attention"

    fused: bool = flag(
        False, help="attn: scaled_dot_product_attention in place of explicit products"
    )

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        qkv = run(Linear("qkv", (B, N), D, 3 * D), x)
        q, k, v = run.parts(run.reordered(qkv), *3 * [(B, h, N, d)])
        if self.fused:
            y = run(FusedAttention("attend", (B, h), N, N, d), q, k, v)
            return run(Linear("fc_out", (B, N), D, D), y)
        q = run(Inline("scale", "scale", (B, h, N, d)), q)
        a = run(
            Elementwise("weights", "softmax", "Softmax", (B, h, N, N)),
            run(MatMul("scores", (B, h), N, d, N), run.copy(q, B, h, N), run.copy(k, B, h, N)),
        )
        y = run(MatMul("output", (B, h), N, N, d), a, run.copy(v, B, h, N))
        y = run.reordered(y, B, h, N)
        return run(Linear("fc_out", (B, N), D, D), run.copy(y, h, N))
