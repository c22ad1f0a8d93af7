"""Class attention; `vitprof.formulas.parts.class_attention` gives its equations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vitprof.modules.fused import FusedAttention
from vitprof.modules.matmul import MatMul
from vitprof.modules.parts.mlps import make_dropout, make_mlp
from vitprof.modules.parts.norms import LayerScale, make_norm

if TYPE_CHECKING:
    from vitprof.formulas.models.classifier import Classifier


class ClassAttention(nn.Module):
    """The first of the tokens attends to all of them: (B, N, D) to (B, 1, D)."""

    def __init__(self, dim: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.heads = heads
        self.fused = fused
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        if fused:
            self.attend = FusedAttention()
        else:
            self.scores = MatMul()
            self.weights = nn.Softmax(dim=-1)
            self.output = MatMul()
        self.proj = nn.Linear(dim, dim)

    def forward(self, u_BND: Tensor) -> Tensor:
        B, N, D = u_BND.shape
        H, C = self.heads, D // self.heads
        q_BH1C = self.q(u_BND[:, 0]).reshape(B, 1, H, C).transpose(1, 2)
        k_BHNC = self.k(u_BND).reshape(B, N, H, C).transpose(1, 2)
        v_BHNC = self.v(u_BND).reshape(B, N, H, C).transpose(1, 2)
        if self.fused:
            y_BH1C = self.attend(q_BH1C, k_BHNC, v_BHNC)
        else:
            a_BH1N = self.weights(self.scores(q_BH1C * C**-0.5, k_BHNC.transpose(-2, -1)))
            y_BH1C = self.output(a_BH1N, v_BHNC)
        return self.proj(y_BH1C.transpose(1, 2).reshape(B, 1, D))


class ClassAttentionLayer(nn.Module):
    """A layer of class attention, of CaiT or of XCiT, on (B, 1 + N, D) with the class token first.

    Layer scales are `nn.Identity` if they are off.
    """

    def __init__(self, spec: Classifier) -> None:
        super().__init__()
        dim = spec.dim
        self.of_cait, self.norm_all = spec.class_layer == "cait", spec.class_norm_all
        self.has_mlp = spec.mlp != "none"
        self.norm1 = make_norm(spec, dim)
        self.attn = ClassAttention(dim, spec.heads, fused=spec.class_fused)
        self.proj_drop = make_dropout(spec)
        self.ls1 = LayerScale(dim) if spec.layer_scale else nn.Identity()
        if self.has_mlp:
            self.norm2 = make_norm(spec, dim)
            self.mlp = make_mlp(spec, dim, spec.hidden_width(dim, spec.mlp_hidden))
            self.ls2 = LayerScale(dim) if spec.layer_scale else nn.Identity()

    def forward(self, u_BND: Tensor) -> Tensor:
        return self._cait(u_BND) if self.of_cait else self._xcit(u_BND)

    def _cait(self, u_BND: Tensor) -> Tensor:
        cls_B1D = u_BND[:, :1]
        cls_B1D = cls_B1D + self.ls1(self.proj_drop(self.attn(self.norm1(u_BND))))
        if self.has_mlp:
            cls_B1D = cls_B1D + self.ls2(self.mlp(self.norm2(cls_B1D)))
        return torch.cat([cls_B1D, u_BND[:, 1:]], dim=1)

    def _xcit(self, u_BND: Tensor) -> Tensor:
        y_BND = self.norm1(u_BND)
        y_BND = torch.cat([self.proj_drop(self.attn(y_BND)), y_BND[:, 1:]], dim=1)
        u_BND = u_BND + self.ls1(y_BND)
        del y_BND
        if not self.has_mlp:
            return u_BND
        if self.norm_all:
            u_BND = self.norm2(u_BND)
        else:
            u_BND = torch.cat([self.norm2(u_BND[:, :1]), u_BND[:, 1:]], dim=1)
        y_B1D = self.ls2(self.mlp(u_BND[:, :1]))
        return u_BND + torch.cat([y_B1D, u_BND[:, 1:]], dim=1)
