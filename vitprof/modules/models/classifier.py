"""A vision transformer classifier; see `vitprof.formulas.models.classifier`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vitprof.modules.block import Block
from vitprof.modules.patches import patchify

if TYPE_CHECKING:
    from vitprof.formulas.models.classifier import Classifier


class FlatPatchEmbed(nn.Module):
    """The pixels of each patch through one linear layer."""

    def __init__(self, patch_size: int, channels: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Linear(patch_size**2 * channels, dim)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.proj(patchify(image_BCHW, self.patch_size))


class VisionTransformer(nn.Module):
    """Images (B, C, H, W) to logits (B, classes)."""

    def __init__(self, spec: Classifier) -> None:
        super().__init__()
        tokens = spec.patches + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, spec.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, spec.dim))
        self.patch_embed = FlatPatchEmbed(spec.patch_size, spec.channels, spec.dim)
        self.blocks = nn.ModuleList(
            Block(
                mixer=spec.mixer,
                dim=spec.dim,
                heads=spec.heads,
                tokens=tokens,
                mlp_ratio=spec.mlp_ratio,
                activation=spec.activation,
            )
            for _ in range(spec.depth)
        )
        self.norm = nn.LayerNorm(spec.dim, eps=1e-6)
        self.head = nn.Linear(spec.dim, spec.classes)
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.02)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        x_BND = self.patch_embed(image_BCHW)
        x_BND = torch.cat([self.cls_token.expand(x_BND.shape[0], -1, -1), x_BND], dim=1)
        x_BND = x_BND + self.pos_embed
        for block in self.blocks:
            x_BND = block(x_BND)
        return self.head(self.norm(x_BND[:, 0]))
