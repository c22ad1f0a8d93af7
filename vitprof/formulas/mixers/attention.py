"""Multi-head self-attention (Vaswani et al. 2017, eq. 1).

Q, K, V = X W_qkv + b            N x 3D
A = softmax(Q K^T / sqrt(d))     N x N for each of h heads, d = D / h
Y = (A V) W_out + b              N x D

With `kv_heads`, g of them, h / g heads share a key and a value (Shazeer 2019, where g is 1;
Ainslie et al. 2023, section 2.2):

Q, K, V = X W_qkv + b            N x (D + 2 g d)
A = softmax(Q K^T / sqrt(d))     (N h / g) x N for each of the g

The queries of the heads that share a key are rows of one product, fused or not, so that
neither K and V nor their gradients are ever repeated.

With `qk_norm` (Dehghani et al. 2023, section 2.1):

Q, K = LN(Q), LN(K)              over the d channels of each head

The norms have a gain, which the heads share, and no bias; of a bias of the keys the softmax
would take no notice.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.op import Elementwise, FusedAttention, Inline, LayerNorm, Linear, MatMul
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE, Size
from vitprof.options import check_divides, flag, whole


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
    kv_heads: int = whole(
        0, minimum=0, help="attn: heads of keys and values, shared by groups of heads; 0 for all"
    )
    qk_norm: bool = flag(False, help="attn: LayerNorm of the queries and keys of each head")

    def admit(self, sizes: MixerSizes) -> None:
        super().admit(sizes)
        if self.kv_heads:
            check_divides("heads", sizes.heads.value, "kv_heads", self.kv_heads)

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        shared = self.kv_heads not in (0, h.value)
        g = Size(self.kv_heads, "kv heads") if shared else h
        r = (h // g).named("group") if shared else ONE
        heads, rows = ((B, N, g, r) if shared else (B, N, h)), N * r
        crossed = (g, r, N) if self.fused else (g, N)
        if shared:
            qkv = run(Linear("qkv", (B, N), D, D + 2 * g * d), x)
            q, k, v = run.parts(qkv, (B, N, D), (B, N, g * d), (B, N, g * d))
            if not self.qk_norm:  # whose gradients lie token by token
                q = run.reordered(q, *crossed)
            if not self.fused:  # as do the kernel's
                k, v = k if self.qk_norm else run.reordered(k, g, N), run.reordered(v, g, N)
        else:
            qkv = run(Linear("qkv", (B, N), D, 3 * D), x)
            q, k, v = run.parts(run.reordered(qkv), *3 * [(B, h, N, d)])
        if self.qk_norm:
            q = run(LayerNorm("norm_q", heads, d, bias=False), q)
            k = run(LayerNorm("norm_k", (B, N, g), d, bias=False), k)
        if not self.fused:
            q = run(Inline("scale", "scale", (*heads, d)), q)
        if shared:
            q = run.copy(q, N) if self.fused and not self.qk_norm else run.copy(q, *crossed)
        if self.fused:
            y = run(FusedAttention("attend", (B, g), rows, N, d), q, k, v)
            y = run.reordered(y, *crossed)
        else:
            a = run(
                Elementwise("weights", "softmax", "Softmax", (B, g, rows, N)),
                run(
                    MatMul("scores", (B, g), rows, d, N),
                    q if shared else run.copy(q, B, h, N),
                    run.copy(k, B, g),
                ),
            )
            y = run(MatMul("output", (B, g), rows, N, d), a, run.copy(v, B, g))
            y = run.reordered(y, g, N) if shared else run.reordered(y, B, h, N)
        return run(Linear("fc_out", (B, N), D, D), run.copy(y, *crossed))
