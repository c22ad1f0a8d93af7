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

With `qk_norm` (Dehghani et al. 2023, section 2.1), a LayerNorm or by `qk_norm_type` an RMSNorm:

Q, K = LN(Q), LN(K)              over the d channels of each head

The norms have a gain, which the heads share, and no bias; a bias of the keys would not
change the softmax. For that reason `key_bias` can be off (Bao et al. 2021, BEiT): queries, keys
and values are then three linear layers, W_k without a bias.

With `rope`, Q and K are turned by their positions (`vitprof.formulas.parts.rotary`). With
`relative`, a bias P of each head is added (`vitprof.formulas.parts.relative`), which with
`relative_shared` is computed once for all blocks, if it does not depend on the queries:

A = softmax(Q K^T / sqrt(d) + P)

With `talking_heads` (Shazeer et al. 2020, section 4; biases as in Touvron et al. 2021, CaiT),
the h scores of each query and key are mapped to h others, and so are the h weights:

A = softmax(Q K^T / sqrt(d) W_scores + b) W_weights + b      both W h x h

The softmax is along the keys, and the first b does not change it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import (
    fused_option,
    key_bias_option,
    proj_bias_option,
    qkv_bias_option,
)
from vitprof.formulas.parts import relative, rotary
from vitprof.formulas.parts.relative import BY_OFFSET
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, choice, divides, flag, needing, whole
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class Attention(Mixer):
    """Softmax attention; with `fused`, one kernel computes the products."""

    name = "attn"
    aliases = ("attention",)
    summary = "softmax attention: every token attends to every token"
    source = "Vaswani et al. 2017, Attention Is All You Need, eq. 1"
    module = "vitprof.modules.mixers.attention:Attention"
    shared_module = "vitprof.modules.mixers.attention:Shared"

    fused: bool = fused_option()
    kv_heads: int = whole(
        0,
        minimum=0,
        help="attn: key and value heads, each shared by a group of heads; 0 for one per head",
    )
    qk_norm: bool = flag(False, help="attn: a norm of the queries and keys of each head")
    qk_norm_type: str = needing(
        choice("layer", names=("layer", "rms"), help="attn: norm of queries and keys"),
        {"qk_norm": (True,)},
    )
    qkv_bias: bool = qkv_bias_option()
    key_bias: bool = key_bias_option()
    proj_bias: bool = proj_bias_option()
    rope: str = choice(
        "none",
        names=tuple(rotary.KINDS),
        help="attn: rotary positions of queries and keys, with fixed frequencies along each axis "
        "or learned ones that mix both axes",
    )
    relative: str = choice(
        "none",
        names=tuple(relative.TYPES),
        help="attn: bias of the scores by the offset of two patches: a table, an MLP of the "
        "offset, or products of the query with vectors for its rows and its columns (decomposed, "
        "as in MViTv2 and SAM)",
    )
    relative_shared: bool = needing(
        flag(False, help="attn: one relative position bias for all blocks"),
        {"relative": BY_OFFSET},
    )
    relative_hidden: int = needing(
        whole(128, help="attn: hidden width of the MLP of relative positions"),
        {"relative": ("mlp",)},
    )
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
        yield Constraint(
            not (self.relative != "none" and self.fused),
            lambda: (
                f"relative {self.relative} is added to scores, which the fused kernel never "
                "writes; give relative or fused, not both"
            ),
        )

    def admits(self, sizes: MixerSizes) -> Iterator[Constraint]:
        yield from super().admits(sizes)
        if self.kv_heads:
            yield divides("heads", sizes.heads.value, "kv_heads", self.kv_heads)
        multiple, head_dim = rotary.KINDS[self.rope], sizes.head_dim.value
        yield Constraint(
            head_dim % multiple == 0,
            lambda: (
                f"rope {self.rope} turns channels of a head by {multiple} at a time, and head dim "
                f"{head_dim} (dim {sizes.dim.value}, {sizes.heads.value} heads) is not divisible "
                f"by {multiple}; give other heads or another dim"
            ),
        )

    @property
    def needs_patches(self) -> str:
        if self.rope != "none":
            return f"rope {self.rope}"
        return f"relative {self.relative}" if self.relative != "none" else ""

    @property
    def shares(self) -> bool:
        return self.rope == "axial" or self._shares_bias

    @property
    def _shares_bias(self) -> bool:
        return self.relative in BY_OFFSET and self.relative_shared

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        arguments = super().arguments(sizes)
        if self.needs_patches:
            assert sizes.patches is not None
            rows, columns = sizes.patches
            arguments |= {"grid": (rows.value, columns.value), "prefix": sizes.prefix}
        return arguments

    def share(self, run: Run, sizes: MixerSizes) -> tuple[Tensor, ...]:
        shared: list[Tensor] = []
        if self.rope == "axial":
            shared += run.layer("rope", "AxialAngles", partial(rotary.axial_angles, run, sizes))
        if self._shares_bias:
            shared.append(self._bias(run, sizes))
        return tuple(shared)

    def _bias(self, run: Run, sizes: MixerSizes) -> Tensor:
        kind, hidden = self.relative, self.size("relative_hidden")
        bias = partial(relative.relative_bias, run, kind, hidden, sizes)
        return run.layer("relative", relative.TYPES[kind], bias)

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes, *shared: Tensor) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        g, r = self._groups(h)
        q, k, v = self._project(run, x, sizes)
        if self.qk_norm:  # (B, N, heads, d) is their order in memory
            q = self._norm(run, "norm_q", q.transpose(1, 2)).transpose(1, 2)
            k = self._norm(run, "norm_k", k.transpose(1, 2)).transpose(1, 2)
        if self.rope != "none":
            tables = self._tables(run, sizes, shared)
            q = rotary.rotate_patches(run, "q", q, tables, v, sizes)
            k = rotary.rotate_patches(run, "k", k, tables, v, sizes)
        if self.fused:
            if r is not ONE:
                q = q.permute(0, 2, 3, 1, 4).reshape(B, N * r, g, d).transpose(1, 2)
            y = run.attention("attend", q, k, v)
        else:
            unscaled = q if self.relative == "decomposed" else None
            q = run.scale("scale", q).reshape(B, g, N * r, d)
            a = self._attention_matrix(run, q, k, unscaled, sizes, shared)
            y = run.matmul("output", a, v)
        each = y.reshape(B, g, N, r, d)
        y = each.transpose(1, 2).reshape(B, N, D)
        return run.linear("fc_out", y, D, bias=self.proj_bias)

    def _norm(self, run: Run, name: str, x: Tensor) -> Tensor:
        if self.qk_norm_type == "rms":
            return run.rms_norm(name, x)
        return run.layer_norm(name, x, bias=False)

    def _relative(
        self, run: Run, q: Tensor | None, sizes: MixerSizes, shared: tuple[Tensor, ...]
    ) -> Tensor:
        """Return P of relative positions, in the order of the scores: (g, N r, N).

        With `decomposed` it is that of the queries q: (B, g, N r, N).
        """
        if q is not None:
            return self._decomposed(run, q, sizes)
        bias = shared[-1] if self.relative_shared else self._bias(run, sizes)
        (_, N, _), (g, r) = bias.shape, self._groups(sizes.heads)
        if r is ONE:
            return bias
        return bias.reshape(g, r, N, N).transpose(1, 2).reshape(g, N * r, N)

    def _decomposed(self, run: Run, q: Tensor, sizes: MixerSizes) -> Tensor:
        """Return P of queries that are not scaled, (B, h, N, d) or (B, g, N, r, d)."""
        assert sizes.patches is not None
        of_queries = partial(relative.decomposed_bias, run, sizes.patches, sizes.prefix, 2)
        bias = run.layer("relative", relative.TYPES["decomposed"], of_queries, q)
        B, g, N, *group, _ = bias.shape
        return bias.reshape(B, g, N * group[0], N) if group else bias

    def _tables(
        self, run: Run, sizes: MixerSizes, shared: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Return cos t and sin t of rotary positions."""
        if self.rope == "axial":
            return shared[:2]
        heads, _ = self._groups(sizes.heads)
        tables = partial(rotary.mixed_angles, run, sizes, heads)
        return run.layer("rope", "MixedAngles", tables)

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
        if self.qkv_bias and not self.key_bias:
            q = run.linear("q", x, D)
            k = run.linear("k", x, g * d, bias=False)
            v = run.linear("v", x, g * d)
        elif r is ONE:
            qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).reshape(B, N, 3, h, d)
            return qkv.permute(2, 0, 3, 1, 4).unbind(0)
        else:
            qkv = run.linear("qkv", x, D + 2 * g * d, bias=self.qkv_bias)
            q, k, v = qkv.split((D, g * d, g * d), -1)
        each = (g,) if r is ONE else (g, r)
        q = q.reshape(B, N, *each, d).transpose(1, 2)
        k = k.reshape(B, N, g, d).transpose(1, 2)
        return q, k, v.reshape(B, N, g, d).transpose(1, 2)

    def _attention_matrix(
        self,
        run: Run,
        q: Tensor,
        k: Tensor,
        unscaled: Tensor | None,
        sizes: MixerSizes,
        shared: tuple[Tensor, ...],
    ) -> Tensor:
        """Return A of the scaled queries: (B, g, N r, N).

        Talking heads mix its heads, moved to the last axis, before and after the softmax.
        """
        a = run.matmul("scores", q, k.mT)
        if self.relative != "none":
            a = run.add("positions", a, self._relative(run, unscaled, sizes, shared))
        if not self.talking_heads:
            return run.softmax("weights", a, -1)
        (B, _, _, N), h, (g, r) = a.shape, sizes.heads, self._groups(sizes.heads)
        a = a.reshape(B, g, N, r, N).permute(0, 2, 4, 1, 3).contiguous()
        a = run.softmax("weights", run.linear("mix_scores", a.reshape(B, N, N, h), h), -2)
        a = run.linear("mix_weights", a, h)
        a = a.reshape(B, N, N, g, r).permute(0, 3, 1, 4, 2).contiguous()
        return a.reshape(B, g, N * r, N)
