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

With `talking_heads` (Shazeer et al. 2020, section 4; biases as in Touvron et al. 2021, CaiT),
each query and key's h scores are mapped to h others, and so are its h weights:

A = softmax(Q K^T / sqrt(d) W_scores + b) W_weights + b      both W h x h

The softmax goes along the keys, and takes no notice of the first b.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.op import Elementwise, FusedAttention, Inline, LayerNorm, Linear, MatMul
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE, Size
from vitprof.options import Rule, divides, flag, whole


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
    qkv_bias: bool = qkv_bias_option()
    talking_heads: bool = flag(
        False, help="attn: maps across the heads before the softmax and after it"
    )

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield Rule(
            not (self.talking_heads and self.fused),
            lambda: (
                "talking heads mix scores and weights, which the fused kernel never writes; "
                "give talking heads or fused, not both"
            ),
        )

    def admits(self, sizes: MixerSizes) -> Iterator[Rule]:
        yield from super().admits(sizes)
        if self.kv_heads:
            yield divides("heads", sizes.heads.value, "kv_heads", self.kv_heads)

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        g, r = self._groups(h)
        heads = (B, N, h) if r is ONE else (B, N, g, r)
        # Axes that change places; the kernel leaves heads with keys of their own, r = 1, in place.
        crossed = (g, r, N) if self.fused else (g, N)
        q, k, v = self._projected(run, x, sizes)
        if self.qk_norm:
            q = run(LayerNorm("norm_q", heads, d, bias=False), q)
            k = run(LayerNorm("norm_k", (B, N, g), d, bias=False), k)
        if self.fused:
            q = run.copy(q, *(crossed if self.qk_norm else (r, N)))
            y = run(FusedAttention("attend", (B, g), N * r, N, d), q, k, v)
            y = run.reordered(y, *crossed)
        else:
            q = run.copy(run(Inline("scale", "scale", (*heads, d)), q), g, r, N)
            a = self._attention_matrix(run, q, k, sizes)
            y = run(MatMul("output", (B, g), N * r, N, d), a, run.copy(v, B, g))
            y = run.reordered(y, B * r, *crossed)  # own heads of one image are rows already
        return run(Linear("fc_out", (B, N), D, D), run.copy(y, *crossed))

    def _groups(self, h: Size) -> tuple[Size, Size]:
        """g, and the heads of a group: the literal 1 where each head has a key of its own."""
        if self.kv_heads in (0, h.value):
            return h, ONE
        g = Size(self.kv_heads, "kv heads")
        return g, (h // g).named("group")

    def _projected(self, run: Run[T], x: T, sizes: MixerSizes) -> tuple[T, ...]:
        """Q, K and V, not yet normalised."""
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        g, r = self._groups(h)
        if r is ONE:
            qkv = run(Linear("qkv", (B, N), D, 3 * D, bias=self.qkv_bias), x)
            return run.parts(run.reordered(qkv), *3 * [(B, h, N, d)])
        qkv = run(Linear("qkv", (B, N), D, D + 2 * g * d, bias=self.qkv_bias), x)
        q, k, v = run.parts(qkv, (B, N, D), (B, N, g * d), (B, N, g * d))
        # Norms make gradients token by token, and so does the kernel those of keys and values.
        if not self.qk_norm:
            q = run.reordered(q, g, N)
        if not self.qk_norm and not self.fused:
            k = run.reordered(k, g, N)
        if not self.fused:
            v = run.reordered(v, g, N)
        return q, k, v

    def _scores(self, run: Run[T], q: T, k: T, sizes: MixerSizes) -> T:
        """Q K^T, of scaled queries; the product lays out anew what it reads."""
        B, N, h, d = sizes.batch, sizes.tokens, sizes.heads, sizes.head_dim
        g, r = self._groups(h)
        q, k = run.lowered(q), run.lowered(k)
        q = run.copy(q, B, h, N) if r is ONE else q
        return run(MatMul("scores", (B, g), N * r, d, N), q, run.copy(k, B, g))

    def _attention_matrix(self, run: Run[T], q: T, k: T, sizes: MixerSizes) -> T:
        """A, of scaled queries."""
        B, N, h = sizes.batch, sizes.tokens, sizes.heads
        g, r = self._groups(h)
        a = self._scores(run, q, k, sizes)
        if not self.talking_heads:
            return run(Elementwise("weights", "softmax", "Softmax", (B, g, N * r, N)), a)
        pairs = (B, N, N)
        a = run.copy(run.reordered(a, B * r, h, N), h, N)
        softmax = Elementwise("weights", "softmax", "Softmax", (*pairs, h))
        a = run(softmax, run(Linear("mix_scores", pairs, h, h), a))
        a = run(Linear("mix_weights", pairs, h, h), a)
        return run.copy(run.reordered(a, h, N), h, N)
