"""Multi-head latent attention; `vitprof.formulas.mixers.latent_attention` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul
from vitprof.modules.parts.rotary import angles, rotate


class LatentAttention(nn.Module):
    """Softmax attention with keys and values from a latent that all heads share.

    More axes of tensors: L channels of the latent, C of a head's values, R that are rotated, and
    K = C + R of a query and a key.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        tokens: int,
        latent: int = 64,
        q_rank: int = 0,
        rope_dim: int = 8,
        head_width: int = 0,
    ) -> None:
        super().__init__()
        self.heads = heads
        width = head_width or dim // heads
        self.parts, self.widths = (width, rope_dim), (latent, rope_dim)
        cosines, sines = angles(tokens, 10_000 ** -(torch.arange(0, rope_dim, 2) / rope_dim))
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        queries = heads * (width + rope_dim)
        self.q = None if q_rank else nn.Linear(dim, queries, bias=False)
        if q_rank:
            self.q_down = nn.Linear(dim, q_rank, bias=False)
            self.q_norm = nn.RMSNorm(q_rank, eps=1e-6)
            self.q_up = nn.Linear(q_rank, queries, bias=False)
        self.kv_down = nn.Linear(dim, latent + rope_dim, bias=False)
        self.kv_norm = nn.RMSNorm(latent, eps=1e-6)
        self.kv_up = nn.Linear(latent, heads * 2 * width, bias=False)
        self.scores = MatMul()
        self.weights = nn.Softmax(dim=-1)
        self.output = MatMul()
        self.fc_out = nn.Linear(heads * width, dim, bias=False)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, _ = x_BND.shape
        H, (C, R) = self.heads, self.parts
        q_BHNK = self._queries(x_BND).reshape(B, N, H, C + R).transpose(1, 2)
        q_BHNK = self._turned(q_BHNK)
        latent_BNL, k = self.kv_down(x_BND).split(self.widths, dim=-1)
        kv = self.kv_up(self.kv_norm(latent_BNL))
        k_BHNC, v_BHNC = kv.reshape(B, N, H, 2 * C).transpose(1, 2).chunk(2, dim=-1)
        k = rotate(k.unsqueeze(1), self.cosines, self.sines).expand(B, H, N, R)
        k = torch.cat([k_BHNC, k], dim=-1)
        q_BHNK = q_BHNK * (C + R) ** -0.5
        a_BHNN = self.weights(self.scores(q_BHNK, k.transpose(-2, -1)))
        y_BND = self.output(a_BHNN, v_BHNC).transpose(1, 2).reshape(B, N, -1)
        return self.fc_out(y_BND)

    def _queries(self, x_BND: Tensor) -> Tensor:
        if self.q is not None:
            return self.q(x_BND)
        down_BNQ = self.q_down(x_BND)
        return self.q_up(self.q_norm(down_BNQ))

    def _turned(self, q_BHNK: Tensor) -> Tensor:
        """Return queries with their last channels rotated by the position of the token."""
        q_BHNC, rope = q_BHNK.split(self.parts, dim=-1)
        return torch.cat([q_BHNC, rotate(rope, self.cosines, self.sines)], dim=-1)
