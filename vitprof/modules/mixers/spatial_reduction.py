"""Spatial-reduction attention; `vitprof.formulas.mixers.spatial_reduction` gives its equations."""

from __future__ import annotations

from torch import Tensor, nn

from vitprof.modules.fused import FusedAttention
from vitprof.modules.matmul import MatMul


class SpatialReduction(nn.Module):
    """Attention of all tokens to those of a coarser grid, M of them."""

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        reduction: int,
        sra_pool: int,
        fused: bool,
        qkv_bias: bool,
        proj_bias: bool,
        grid: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.heads, self.grid, self.fused = heads, grid, fused
        self.reduces, self.pools = sra_pool > 0 or reduction > 1, sra_pool > 0
        self.q = nn.Linear(dim, dim, bias=qkv_bias)
        side = 1 if self.pools else reduction
        if self.pools:
            self.pool = nn.AdaptiveAvgPool2d(sra_pool)
        if self.reduces:
            self.reduce = nn.Conv2d(dim, dim, side, stride=side)
            self.norm = nn.LayerNorm(dim)
        if self.pools:
            self.act = nn.GELU()
        self.kv = nn.Linear(dim, 2 * dim, bias=qkv_bias)
        if fused:
            self.attend = FusedAttention()
        else:
            self.scores = MatMul()
            self.weights = nn.Softmax(dim=-1)
            self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, C = self.heads, D // self.heads
        q_BHNC = self.q(x_BND).reshape(B, N, H, C).transpose(1, 2)
        if self.reduces:
            x_BND = self._coarser(x_BND)
        kv_BM2HC = self.kv(x_BND).reshape(B, -1, 2, H, C)
        k_BHMC, v_BHMC = kv_BM2HC.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y_BHNC = self.attend(q_BHNC, k_BHMC, v_BHMC)
        else:
            a_BHNM = self.weights(self.scores(q_BHNC * C**-0.5, k_BHMC.transpose(-2, -1)))
            y_BHNC = self.output(a_BHNM, v_BHMC)
        return self.fc_out(y_BHNC.transpose(1, 2).reshape(B, N, D))

    def _coarser(self, x_BND: Tensor) -> Tensor:
        x = x_BND.transpose(1, 2).unflatten(2, self.grid)
        if self.pools:
            x = self.pool(x)
        x = self.reduce(x)
        x = self.norm(x.flatten(2).transpose(1, 2))
        return self.act(x) if self.pools else x
