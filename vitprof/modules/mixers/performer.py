"""Performer; `vitprof.formulas.mixers.performer` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul

EPSILON = 1e-4


def orthogonal_features(channels: int, features: int) -> Tensor:
    """Return random columns, (channels, features), with the norms of Gaussian ones.

    Each block of `channels` columns is orthogonal.
    """
    blocks = -(-features // channels)
    gaussian = torch.randn(blocks, channels, channels, dtype=torch.float32)
    q, r = torch.linalg.qr(gaussian)
    even = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]  # QR alone favours some directions
    directions_CM = even.permute(1, 0, 2).flatten(1)[:, :features]
    lengths_M = torch.randn(features, channels, dtype=torch.float32).norm(dim=1)
    return (directions_CM * lengths_M).to(torch.get_default_dtype())


class Performer(nn.Module):
    """Linear attention with positive orthogonal random features, not causal."""

    projection: Tensor

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        features: int = 64,
        qkv_bias: bool = True,
        proj_bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.register_buffer("projection", orthogonal_features(dim // heads, features))
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.query_features = MatMul()
        self.key_features = MatMul()
        self.key_values = MatMul()
        self.normalizer = MatMul()
        self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        qkv = self.qkv(x_BND).reshape(B, N, 3, self.heads, D // self.heads)
        q_BHNC, k_BHNC, v_BHNC = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q_BHNC = self._features(self.query_features, q_BHNC, (-1,))
        k_BHNC = self._features(self.key_features, k_BHNC, (-2, -1))
        state_BHMC = self.key_values(k_BHNC.transpose(-2, -1), v_BHNC)
        sums_BHN1 = self.normalizer(q_BHNC, k_BHNC.sum(2).unsqueeze(-1))
        y_BHNC = self.output(q_BHNC, state_BHMC) / sums_BHN1
        return self.fc_out(y_BHNC.transpose(1, 2).reshape(B, N, D))

    def _features(self, project: nn.Module, x_BHNC: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Return exp(W x - |x|^2 / 2 - max of W x along `axes`) + EPSILON."""
        x_BHNC = x_BHNC * x_BHNC.shape[-1] ** -0.25
        projected_BHNM = project(x_BHNC, self.projection)
        offset_BHN1 = x_BHNC.square().sum(-1, keepdim=True) / 2
        offset_BHN1 = offset_BHN1 + projected_BHNM.detach().amax(axes, keepdim=True)
        y_BHNM = (projected_BHNM - offset_BHN1).exp()
        return y_BHNM + EPSILON
