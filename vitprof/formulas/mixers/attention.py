"""Multi-head self-attention (Vaswani et al. 2017, eq. 1).

Q, K, V = X W_qkv + b            N x 3D
A = softmax(Q K^T / sqrt(d))     N x N for each of h heads, d = D / h
Y = (A V) W_out + b              N x D

With `kv_heads`, g of them, h / g heads share a key and a value (Shazeer 2019, with g = 1;
Ainslie et al. 2023, section 2.2):

Q, K, V = X W_qkv + b            N x (D + 2 g d)
A = softmax(Q K^T / sqrt(d))     (N h / g) x N for each of the g

The queries of the heads that share a key are rows of one product, fused or not, so that
K, V and their gradients are never repeated.

With `qk_norm` (Dehghani et al. 2023, section 2.1):

Q, K = LN(Q), LN(K)              over the d channels of each head

The norms have a gain, which the heads share, and no bias; a bias of the keys would not
change the softmax.

With `talking_heads` (Shazeer et al. 2020, section 4; biases as in Touvron et al. 2021, CaiT),
the h scores of each query and key are mapped to h others, and so are the h weights:

A = softmax(Q K^T / sqrt(d) W_scores + b) W_weights + b      both W h x h

The softmax is along the keys, and the first b does not change it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, divides, flag, whole
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class Attention(Mixer):
    """Softmax attention; with `fused`, one kernel computes the products."""

    name = "attn"
    aliases = ("attention",)
    summary = "softmax attention: every token attends to every token"
    source = "Vaswani et al. 2017, Attention Is All You Need, eq. 1"
    module = "vitprof.modules.mixers.attention:Attention"

    fused: bool = flag(
        False, help="attn: scaled_dot_product_attention in place of explicit products"
    )
    kv_heads: int = whole(
        0,
        minimum=0,
        help="attn: key and value heads, each shared by a group of heads; 0 for one per head",
    )
    qk_norm: bool = flag(False, help="attn: LayerNorm of the queries and keys of each head")
    qkv_bias: bool = qkv_bias_option()
    talking_heads: bool = flag(
        False, help="attn: linear maps across the heads before and after the softmax"
    )

    def constraints(self) -> Iterator[Constraint]:
        yield from super().constraints()
        yield Constraint(
            not (self.talking_heads and self.fused),
            lambda: (
                "talking heads mix scores and weights, which the fused kernel never writes; "
                "give talking heads or fused, not both"
            ),
        )

    def admits(self, sizes: MixerSizes) -> Iterator[Constraint]:
        yield from super().admits(sizes)
        if self.kv_heads:
            yield divides("heads", sizes.heads.value, "kv_heads", self.kv_heads)

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        g, r = self._groups(h)
        q, k, v = self._project(run, x, sizes)
        if self.qk_norm:  # (B, N, heads, d) is their order in memory
            q = run.layer_norm("norm_q", q.transpose(1, 2), bias=False).transpose(1, 2)
            k = run.layer_norm("norm_k", k.transpose(1, 2), bias=False).transpose(1, 2)
        if self.fused:
            if r is not ONE:
                q = q.permute(0, 2, 3, 1, 4).reshape(B, N * r, g, d).transpose(1, 2)
            y = run.attention("attend", q, k, v)
        else:
            q = run.scale("scale", q).reshape(B, g, N * r, d)
            a = self._attention_matrix(run, q, k, sizes)
            y = run.matmul("output", a, v)
        each = y.reshape(B, g, N, r, d)
        return run.linear("fc_out", each.transpose(1, 2).reshape(B, N, D), D)

    def _groups(self, h: Size) -> tuple[Size, Size]:
        """Return g and the heads per group, which is the literal 1 if each head has its own key."""
        if self.kv_heads in (0, h.value):
            return h, ONE
        g = Size(self.kv_heads, "kv heads")
        return g, (h // g).named("group")

    def _project(self, run: Run, x: Tensor, sizes: MixerSizes) -> tuple[Tensor, ...]:
        """Return Q, K and V before `qk_norm`: (B, h, N, d); if heads share a key, Q is
        (B, g, N, r, d) and K and V are (B, g, N, d)."""
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        g, r = self._groups(h)
        if r is ONE:
            qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).reshape(B, N, 3, h, d)
            return qkv.permute(2, 0, 3, 1, 4).unbind(0)
        qkv = run.linear("qkv", x, D + 2 * g * d, bias=self.qkv_bias)
        q, k, v = qkv.split((D, g * d, g * d), -1)
        q = q.reshape(B, N, g, r, d).transpose(1, 2)
        k = k.reshape(B, N, g, d).transpose(1, 2)
        return q, k, v.reshape(B, N, g, d).transpose(1, 2)

    def _attention_matrix(self, run: Run, q: Tensor, k: Tensor, sizes: MixerSizes) -> Tensor:
        """Return A of the scaled queries: (B, g, N r, N).

        Talking heads mix its heads, moved to the last axis, before and after the softmax.
        """
        a = run.matmul("scores", q, k.mT)
        if not self.talking_heads:
            return run.softmax("weights", a, -1)
        (B, _, _, N), h, (g, r) = a.shape, sizes.heads, self._groups(sizes.heads)
        a = a.reshape(B, g, N, r, N).permute(0, 2, 4, 1, 3).contiguous()
        a = run.softmax("weights", run.linear("mix_scores", a.reshape(B, N, N, h), h), -2)
        a = run.linear("mix_weights", a, h)
        a = a.reshape(B, N, N, g, r).permute(0, 3, 1, 4, 2).contiguous()
        return a.reshape(B, g, N * r, N)
