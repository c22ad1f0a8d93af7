"""A vision transformer classifier; see `vitprof.formulas.models.classifier`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vitprof.formulas.size import ONE
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
        (block,) = spec.blocks(ONE)
        self.pool = spec.pool
        if self.pool == "token":
            self.cls_token = nn.Parameter(torch.zeros(1, 1, spec.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, block.sizes.tokens.value, spec.dim))
        self.patch_embed = FlatPatchEmbed(spec.patch_size, spec.channels, spec.dim)
        self.blocks = nn.ModuleList(Block(block) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(spec.dim, eps=1e-6)
        self.head = nn.Linear(spec.dim, spec.classes)
        if self.pool == "token":
            nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.02)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        x_BND = self.patch_embed(image_BCHW)
        if self.pool == "token":
            x_BND = torch.cat([self.cls_token.expand(x_BND.shape[0], -1, -1), x_BND], dim=1)
        x_BND = x_BND + self.pos_embed
        for block in self.blocks:
            x_BND = block(x_BND)
        if self.pool == "token":
            return self.head(self.norm(x_BND[:, 0]))
        return self.head(self.norm(x_BND).mean(dim=1))
