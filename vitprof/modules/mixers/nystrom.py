"""Nystrom attention; `vitprof.formulas.mixers.nystrom` gives the equations.

The axis M is the landmarks; M divides N.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul


def subtract_from_identity(times: int, x: Tensor) -> Tensor:
    """Return `times` the identity matrix minus x."""
    return times * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) - x


def start(a_BHMM: Tensor) -> Tensor:
    """Return A^T over the maximum column sum times the maximum row sum, 1 after a softmax."""
    greatest_BH11 = a_BHMM.detach().sum(-2, keepdim=True).amax(-1, keepdim=True)
    return a_BHMM.transpose(-2, -1) / greatest_BH11


class InverseStep(nn.Module):
    """One iteration that improves an approximate pseudo-inverse Z of A."""

    def __init__(self) -> None:
        super().__init__()
        self.product = MatMul()
        self.inner = MatMul()
        self.middle = MatMul()
        self.outer = MatMul()

    def forward(self, a_BHMM: Tensor, z_BHMM: Tensor) -> Tensor:
        az_BHMM = self.product(a_BHMM, z_BHMM)
        inner_BHMM = self.inner(az_BHMM, subtract_from_identity(7, az_BHMM))
        middle_BHMM = self.middle(az_BHMM, subtract_from_identity(15, inner_BHMM))
        z_BHMM = self.outer(z_BHMM, subtract_from_identity(13, middle_BHMM))
        return z_BHMM / 4


class NystromAttention(nn.Module):
    """Softmax attention through landmarks."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        landmarks: int = 7,
        iterations: int = 6,
        qkv_bias: bool = True,
        proj_bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.landmarks = landmarks
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.query_scores = MatMul()
        self.query_weights = nn.Softmax(dim=-1)
        self.landmark_scores = MatMul()
        self.landmark_weights = nn.Softmax(dim=-1)
        self.key_scores = MatMul()
        self.key_weights = nn.Softmax(dim=-1)
        self.inverse = nn.ModuleList(InverseStep() for _ in range(iterations))
        self.query_inverse = MatMul()
        self.key_values = MatMul()
        self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, M, C = self.heads, self.landmarks, D // self.heads
        qk_BND, v_BND = self.qkv(x_BND).split((2 * D, D), dim=-1)
        q_BHNC, k_BHNC = qk_BND.reshape(B, N, 2, H, C).permute(2, 0, 3, 1, 4).unbind(0)
        v_BHNC = v_BND.reshape(B, N, H, C).transpose(1, 2)
        means_BMD = qk_BND.reshape(B, M, N // M, 2 * D).mean(2)
        q_BHMC, k_BHMC = means_BMD.reshape(B, M, 2, H, C).permute(2, 0, 3, 1, 4).unbind(0)
        q_BHNC = q_BHNC * C**-0.5
        q_BHMC = q_BHMC * C**-0.5
        k_BHCM = k_BHMC.transpose(-2, -1)
        f_BHNM = self.query_weights(self.query_scores(q_BHNC, k_BHCM))
        a_BHMM = self.landmark_weights(self.landmark_scores(q_BHMC, k_BHCM))
        g_BHMN = self.key_weights(self.key_scores(q_BHMC, k_BHNC.transpose(-2, -1)))
        z_BHMM = start(a_BHMM)
        for step in self.inverse:
            z_BHMM = step(a_BHMM, z_BHMM)
        f_BHNM = self.query_inverse(f_BHNM, z_BHMM)
        g_BHMC = self.key_values(g_BHMN, v_BHNC)
        y_BHNC = self.output(f_BHNM, g_BHMC)
        return self.fc_out(y_BHNC.transpose(1, 2).reshape(B, N, D))
