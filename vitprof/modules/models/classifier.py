"""A vision transformer classifier; see `vitprof.formulas.models.classifier`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vitprof.modules.block import Block
from vitprof.modules.parts.activations import ACTIVATIONS
from vitprof.modules.parts.norms import NORMS
from vitprof.modules.patches import make_positions, patchify

if TYPE_CHECKING:
    from vitprof.formulas.models.classifier import Classifier


class FlatPatchEmbed(nn.Module):
    """A linear layer on the pixels of each patch, with optional activation and norm."""

    def __init__(self, spec: Classifier) -> None:
        super().__init__()
        self.patch_size = spec.patch_size
        pixels = spec.patch_size**2 * spec.channels
        self.proj = nn.Linear(pixels, spec.dim, bias=spec.patch_bias)
        if spec.patch_norm:
            self.act: nn.Module = ACTIVATIONS[spec.activation]()
        else:
            self.act = nn.Identity()
        self.norm = NORMS[spec.norm](spec.dim) if spec.patch_norm else nn.Identity()

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.norm(self.act(self.proj(patchify(image_BCHW, self.patch_size))))


class VisionTransformer(nn.Module):
    """Images (B, C, H, W) to logits (B, classes).

    Without a head, the output is features: (B, D) of the class token or the mean of the patches,
    (B, 2, D) of class and distillation token, or (B, N, D) of all patches.
    """

    def __init__(self, spec: Classifier) -> None:
        super().__init__()
        (stage,) = spec.stages
        self.pool = spec.pool
        self.final_norm_tokens = spec.final_norm_tokens
        self.prefix_tokens = spec.prefix_tokens
        if self.prefix_tokens:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, spec.dim))
            nn.init.normal_(self.cls_token, std=0.02)
        if spec.distillation:
            self.dist_token = nn.Parameter(torch.zeros(1, 1, spec.dim))
            nn.init.normal_(self.dist_token, std=0.02)
        self.prefix_has_positions = spec.pos_embed_token and spec.prefix_tokens > 0
        prefix_positions = spec.prefix_tokens if self.prefix_has_positions else 0
        self.pos_embed = make_positions(
            spec.pos_embed, spec.grid, spec.dim, prefix_tokens=prefix_positions
        )
        self.patch_embed = FlatPatchEmbed(spec)
        self.blocks = nn.ModuleList(Block(stage.block) for _ in range(spec.depth))
        self.norm = NORMS[spec.norm](spec.dim) if spec.final_norm else nn.Identity()
        self.head = nn.Linear(spec.dim, spec.classes) if spec.head else None
        self.head_dist = None
        if spec.head and spec.distillation:
            self.head_dist = nn.Linear(spec.dim, spec.classes)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        x_BND = self.patch_embed(image_BCHW)
        if self.pos_embed is not None and not self.prefix_has_positions:
            x_BND = x_BND + self.pos_embed
        if self.prefix_tokens:
            x_BND = torch.cat([*self._tokens(x_BND.shape[0]), x_BND], dim=1)
        if self.pos_embed is not None and self.prefix_has_positions:
            x_BND = x_BND + self.pos_embed
        for block in self.blocks:
            x_BND = block(x_BND)
        return self._classify(self._pooled(x_BND))

    def _tokens(self, batch: int) -> list[Tensor]:
        tokens = [self.cls_token] if self.prefix_tokens == 1 else [self.cls_token, self.dist_token]
        return [token.expand(batch, -1, -1) for token in tokens]

    def _pooled(self, x_BND: Tensor) -> Tensor:
        if self.pool == "token" and self.final_norm_tokens == "token":
            return self.norm(self._prefix(x_BND))
        x_BND = self.norm(x_BND)
        if self.pool == "token":
            return self._prefix(x_BND)
        return x_BND.mean(dim=1) if self.pool == "mean" else x_BND

    def _prefix(self, x_BND: Tensor) -> Tensor:
        return x_BND[:, 0] if self.prefix_tokens == 1 else x_BND[:, : self.prefix_tokens]

    def _classify(self, x: Tensor) -> Tensor:
        if self.head is None:
            return x
        if self.head_dist is None:
            return self.head(x)
        cls_BD, dist_BD = x.unbind(1)
        cls_BK = self.head(cls_BD)
        dist_BK = self.head_dist(dist_BD)
        return (cls_BK + dist_BK) * 0.5
