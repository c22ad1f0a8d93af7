"""Multi-head self-attention; `vitprof.formulas.mixers.attention` gives the equations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from vitprof.formulas.parts.relative import BY_OFFSET
from vitprof.modules.fused import FusedAttention
from vitprof.modules.matmul import MatMul
from vitprof.modules.parts.relative import BiasMlp, BiasTable, DecomposedBias
from vitprof.modules.parts.rotary import AxialAngles, MixedAngles, rotate_patches

_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": partial(nn.LayerNorm, eps=1e-6, bias=False),
    "rms": partial(nn.RMSNorm, eps=1e-6),
}


class Attention(nn.Module):
    """Multi-head self-attention, with explicit products or fused.

    More axes of tensors: G heads of keys and values, R heads that share one of them, and M = N R
    rows of a group.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        fused: bool = False,
        kv_heads: int = 0,
        qk_norm: bool = False,
        qk_norm_type: str = "layer",
        qkv_bias: bool = True,
        key_bias: bool = True,
        proj_bias: bool = True,
        rope: str = "none",
        relative: str = "none",
        relative_shared: bool = False,
        relative_hidden: int = 128,
        talking_heads: bool = False,
        grid: tuple[int, int] = (0, 0),
        prefix: int = 0,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.kv_heads = kv_heads or heads
        self.fused = fused
        self.qk_norm = qk_norm
        self.talking_heads = talking_heads
        head_dim = dim // heads
        self.widths = (dim, *2 * [self.kv_heads * head_dim])
        self.together = key_bias or not qkv_bias
        if self.together:
            self.qkv = nn.Linear(dim, sum(self.widths), bias=qkv_bias)
        else:
            self.q, self.k, self.v = (
                nn.Linear(dim, width, bias=name != "k")
                for name, width in zip("qkv", self.widths, strict=True)
            )
        if qk_norm:
            self.norm_q, self.norm_k = (_NORMS[qk_norm_type](head_dim) for _ in "qk")
        self.turns, self.prefix = rope != "none", prefix
        self.rope = MixedAngles(self.kv_heads, head_dim, grid) if rope == "mixed" else None
        self.biased, self.decomposed = relative != "none", relative == "decomposed"
        self.relative: nn.Module | None = None
        if fused:
            self.attend = FusedAttention()
        else:
            self.scores = MatMul()
            if self.decomposed:
                self.relative = DecomposedBias(head_dim, grid, axis=2, prefix=prefix)
            elif self.biased and not relative_shared:
                self.relative = make_bias(relative, heads, grid, prefix, relative_hidden)
            if talking_heads:
                self.mix_scores = nn.Linear(heads, heads)
            self.weights = nn.Softmax(dim=-2 if talking_heads else -1)  # along the keys
            if talking_heads:
                self.mix_weights = nn.Linear(heads, heads)
            self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)

    def forward(self, x_BND: Tensor, *shared: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, G, C = self.heads, self.kv_heads, D // self.heads
        q_BGMC, k_BGNC, v_BGNC = self._projected(x_BND)
        if self.qk_norm:  # (B, N, heads, C) is their order in memory
            q_BGMC = self.norm_q(q_BGMC.transpose(1, 2)).transpose(1, 2)
            k_BGNC = self.norm_k(k_BGNC.transpose(1, 2)).transpose(1, 2)
        if self.turns:
            tables = shared[:2] if self.rope is None else self.rope()
            q_BGMC = rotate_patches(q_BGMC, tables, v_BGNC, self.prefix)
            k_BGNC = rotate_patches(k_BGNC, tables, v_BGNC, self.prefix)
        if self.fused:
            if G < H:
                q_BGMC = q_BGMC.permute(0, 2, 3, 1, 4).reshape(B, -1, G, C).transpose(1, 2)
            y_BGMC = self.attend(q_BGMC, k_BGNC, v_BGNC)
        else:
            unscaled = q_BGMC if self.decomposed else None
            q_BGMC = (q_BGMC * C**-0.5).reshape(B, G, -1, C)
            a_BGMN = self._attention_matrix(q_BGMC, k_BGNC, unscaled, shared)
            y_BGMC = self.output(a_BGMN, v_BGNC)
        y_BGNRC = y_BGMC.reshape(B, G, N, H // G, C)
        return self.fc_out(y_BGNRC.transpose(1, 2).reshape(B, N, D))

    def _projected(self, x_BND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values; if heads share a key, M is two axes, N and R."""
        B, N, D = x_BND.shape
        H, G, C = self.heads, self.kv_heads, D // self.heads
        if not self.together:
            q_BND = self.q(x_BND)
            k_BNE = self.k(x_BND)
            v_BNE = self.v(x_BND)
        elif G == H:
            qkv = self.qkv(x_BND).reshape(B, N, 3, H, C)
            q_BHNC, k_BHNC, v_BHNC = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            return q_BHNC, k_BHNC, v_BHNC
        else:
            q_BND, k_BNE, v_BNE = self.qkv(x_BND).split(self.widths, dim=-1)
        each = (G,) if G == H else (G, H // G)
        q_BGNRC = q_BND.reshape(B, N, *each, C).transpose(1, 2)
        k_BGNC = k_BNE.reshape(B, N, G, C).transpose(1, 2)
        v_BGNC = v_BNE.reshape(B, N, G, C).transpose(1, 2)
        return q_BGNRC, k_BGNC, v_BGNC

    def _attention_matrix(
        self,
        q_BGMC: Tensor,
        k_BGNC: Tensor,
        unscaled: Tensor | None,
        shared: tuple[Tensor, ...],
    ) -> Tensor:
        """Return softmax(Q K^T); talking heads mix its heads before and after the softmax."""
        a = self.scores(q_BGMC, k_BGNC.transpose(-2, -1))
        if self.biased:
            a = a + self._bias(unscaled, shared)
        if not self.talking_heads:
            return self.weights(a)
        (B, G, _, N), R = a.shape, self.heads // self.kv_heads
        a = a.reshape(B, G, N, R, N).permute(0, 2, 4, 1, 3).contiguous()
        a = self.weights(self.mix_scores(a.reshape(B, N, N, G * R)))
        a = self.mix_weights(a)
        a = a.reshape(B, N, N, G, R).permute(0, 3, 1, 4, 2).contiguous()
        return a.reshape(B, G, N * R, N)

    def _bias(self, unscaled: Tensor | None, shared: tuple[Tensor, ...]) -> Tensor:
        """Return the relative position bias in the order of the scores, (G, M, N).

        A decomposed one is that of the queries before they are scaled: (B, G, M, N).
        """
        if unscaled is not None:
            assert self.relative is not None
            return self.relative(unscaled).flatten(2, -2)
        bias_HNN = shared[-1] if self.relative is None else self.relative()
        (H, N, _), G = bias_HNN.shape, self.kv_heads
        if G == H:
            return bias_HNN
        return bias_HNN.reshape(G, H // G, N, N).transpose(1, 2).reshape(G, -1, N)


class Shared(nn.Module):
    """Positions that all blocks share: tables of rotary positions, and a relative bias."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        rope: str,
        relative: str,
        relative_shared: bool,
        relative_hidden: int,
        grid: tuple[int, int],
        prefix: int,
        **others: object,
    ) -> None:
        super().__init__()
        self.rope = AxialAngles(dim // heads, grid) if rope == "axial" else None
        self.relative = None
        if relative in BY_OFFSET and relative_shared:
            self.relative = make_bias(relative, heads, grid, prefix, relative_hidden)

    def forward(self) -> tuple[Tensor, ...]:
        tables = () if self.rope is None else self.rope()
        return tables if self.relative is None else (*tables, self.relative())


def make_bias(kind: str, heads: int, grid: tuple[int, int], prefix: int, hidden: int) -> nn.Module:
    """Return a relative position bias, `table` or `mlp`."""
    if kind == "table":
        return BiasTable(heads, grid, prefix)
    return BiasMlp(heads, grid, prefix, hidden)
