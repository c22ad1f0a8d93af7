"""Multi-head self-attention; `vitprof.formulas.mixers.attention` gives the equations."""

from __future__ import annotations

from torch import Tensor, nn

from vitprof.modules.fused import FusedAttention
from vitprof.modules.matmul import MatMul


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
        qkv_bias: bool = True,
        talking_heads: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.kv_heads = kv_heads or heads
        self.fused = fused
        self.qk_norm = qk_norm
        self.talking_heads = talking_heads
        head_dim = dim // heads
        self.widths = (dim, *2 * [self.kv_heads * head_dim])
        self.qkv = nn.Linear(dim, sum(self.widths), bias=qkv_bias)
        if qk_norm:
            self.norm_q = nn.LayerNorm(head_dim, eps=1e-6, bias=False)
            self.norm_k = nn.LayerNorm(head_dim, eps=1e-6, bias=False)
        if fused:
            self.attend = FusedAttention()
        else:
            self.scores = MatMul()
            if talking_heads:
                self.mix_scores = nn.Linear(heads, heads)
            self.weights = nn.Softmax(dim=-2 if talking_heads else -1)  # along the keys
            if talking_heads:
                self.mix_weights = nn.Linear(heads, heads)
            self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, G, C = self.heads, self.kv_heads, D // self.heads
        q_BGMC, k_BGNC, v_BGNC = self._projected(x_BND)
        if self.qk_norm:  # (B, N, heads, C) is their order in memory
            q_BGMC = self.norm_q(q_BGMC.transpose(1, 2)).transpose(1, 2)
            k_BGNC = self.norm_k(k_BGNC.transpose(1, 2)).transpose(1, 2)
        if self.fused:
            if G < H:
                q_BGMC = q_BGMC.permute(0, 2, 3, 1, 4).reshape(B, -1, G, C).transpose(1, 2)
            y_BGMC = self.attend(q_BGMC, k_BGNC, v_BGNC)
        else:
            q_BGMC = (q_BGMC * C**-0.5).reshape(B, G, -1, C)
            a_BGMN = self._attention_matrix(q_BGMC, k_BGNC)
            y_BGMC = self.output(a_BGMN, v_BGNC)
        y_BGNRC = y_BGMC.reshape(B, G, N, H // G, C)
        return self.fc_out(y_BGNRC.transpose(1, 2).reshape(B, N, D))

    def _projected(self, x_BND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values; if heads share a key, M is two axes, N and R."""
        B, N, D = x_BND.shape
        H, G, C = self.heads, self.kv_heads, D // self.heads
        if G == H:
            qkv = self.qkv(x_BND).reshape(B, N, 3, H, C)
            q_BHNC, k_BHNC, v_BHNC = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            return q_BHNC, k_BHNC, v_BHNC
        q_BND, k_BNE, v_BNE = self.qkv(x_BND).split(self.widths, dim=-1)
        q_BGNRC = q_BND.reshape(B, N, G, H // G, C).transpose(1, 2)
        k_BGNC = k_BNE.reshape(B, N, G, C).transpose(1, 2)
        v_BGNC = v_BNE.reshape(B, N, G, C).transpose(1, 2)
        return q_BGNRC, k_BGNC, v_BGNC

    def _attention_matrix(self, q_BGMC: Tensor, k_BGNC: Tensor) -> Tensor:
        """Return softmax(Q K^T); talking heads mix its heads before and after the softmax."""
        a = self.scores(q_BGMC, k_BGNC.transpose(-2, -1))
        if not self.talking_heads:
            return self.weights(a)
        (B, G, _, N), R = a.shape, self.heads // self.kv_heads
        a = a.reshape(B, G, N, R, N).permute(0, 2, 4, 1, 3).contiguous()
        a = self.weights(self.mix_scores(a.reshape(B, N, N, G * R)))
        a = self.mix_weights(a)
        a = a.reshape(B, N, N, G, R).permute(0, 3, 1, 4, 2).contiguous()
        return a.reshape(B, G, N * R, N)
