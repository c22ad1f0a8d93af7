"""A vision transformer classifier; see `vitprof.formulas.models.classifier`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vitprof.modules.parts.class_attention import ClassAttentionLayer
from vitprof.modules.parts.heads import AttentionPool, WithLogits
from vitprof.modules.parts.neck import Neck
from vitprof.modules.parts.norms import make_norm
from vitprof.modules.parts.positions import FourierPositions
from vitprof.modules.parts.stems import make_stem
from vitprof.modules.patches import make_positions
from vitprof.modules.stage import add_shared, make_blocks, run_shared, shared_of

if TYPE_CHECKING:
    from vitprof.formulas.models.classifier import Classifier


class VisionTransformer(WithLogits):
    """Images (B, C, H, W), or videos (B, C, T, H, W), to logits (B, classes).

    Without a head, the output is features: (B, D) of the class token or pooled from the patches,
    (B, 2, D) of class and distillation token, or (B, patches, D) of all patches, of which a neck
    makes (B, patches, neck).
    """

    def __init__(self, spec: Classifier) -> None:
        super().__init__()
        (stage,) = spec.stages
        self.pool, self.norm_is_last = spec.pool, spec.norm_is_last
        self.prefix_tokens, self.class_tokens = spec.prefix_tokens, spec.class_tokens
        if self.class_tokens or spec.pool == "class":
            self.cls_token = _token(1, spec.dim)
        if spec.pooled_tokens == 2:
            self.dist_token = _token(1, spec.dim)
        self.reg_token = _token(spec.registers, spec.dim) if spec.registers else None
        self.tokens_have_positions = spec.pos_embed_token and self.class_tokens > 0
        self.pos_embed = make_positions(
            spec.pos_embed,
            spec.grid,
            spec.dim,
            prefix_tokens=self.class_tokens if self.tokens_have_positions else 0,
        )
        self.patch_embed = make_stem(spec)
        self.fourier_embed: nn.Module = nn.Identity()
        if spec.pos_embed == "fourier":
            rows, columns = spec.grid
            self.fourier_embed = FourierPositions((rows, columns), spec.dim)
        self.norm_pre = make_norm(spec, spec.dim) if spec.first_norm else nn.Identity()
        add_shared(self, stage)
        self.blocks = make_blocks(stage)
        if spec.pool == "class":
            layers = (ClassAttentionLayer(spec) for _ in range(spec.class_layers))
            self.class_blocks = nn.ModuleList(layers)
        norm = make_norm(spec, spec.dim) if spec.final_norm else nn.Identity()
        if not self.norm_is_last:
            self.norm = norm
        if spec.pool == "map":
            hidden = spec.hidden_width(spec.dim, spec.mlp_hidden)
            self.attn_pool = AttentionPool(spec, spec.dim, spec.heads, hidden)
        if self.norm_is_last:
            self.norm = norm
        self.neck: nn.Module | None = None
        if spec.has_neck:
            rows, columns = spec.grid
            self.neck = Neck(spec, spec.dim, (rows, columns))
        self.head = self.head_dist = self.head_norm = None
        if spec.head:
            self.head_norm = make_norm(spec, spec.dim) if spec.head_norm else None
            width = self.make_before_head(spec, spec.dim, partial(make_norm, spec))
            self.head = nn.Linear(width, spec.classes, bias=spec.head_bias)
            if spec.distillation:
                self.head_dist = nn.Linear(width, spec.classes, bias=spec.head_bias)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        x_BND = self.patch_embed(image_BCHW)
        x_BND = self.fourier_embed(x_BND)
        if self.pos_embed is not None and self.tokens_have_positions:
            x_BND = torch.cat([*self._tokens(x_BND.shape[0]), x_BND], dim=1)
            x_BND = x_BND + self.pos_embed
            if self.reg_token is not None:
                x_BND = self._with_registers(x_BND)
        else:
            if self.pos_embed is not None:
                x_BND = x_BND + self.pos_embed
            if self.prefix_tokens:
                B = x_BND.shape[0]
                x_BND = torch.cat([*self._tokens(B), *self._registers(B), x_BND], dim=1)
        x_BND = self.norm_pre(x_BND)
        shared = run_shared(self)
        for block in self.blocks:
            x_BND = block(x_BND, *shared_of(shared, block))
        if self.pool == "class":
            cls_B1D = self.cls_token.expand(x_BND.shape[0], -1, -1)
            x_BND = torch.cat([cls_B1D, x_BND], dim=1)
            for layer in self.class_blocks:
                x_BND = layer(x_BND)
        return self._classify(self._pooled(x_BND))

    def _tokens(self, batch: int) -> list[Tensor]:
        tokens = [self.cls_token] if self.class_tokens else []
        if self.class_tokens == 2:
            tokens.append(self.dist_token)
        return [token.expand(batch, -1, -1) for token in tokens]

    def _registers(self, batch: int) -> list[Tensor]:
        return [] if self.reg_token is None else [self.reg_token.expand(batch, -1, -1)]

    def _with_registers(self, x_BND: Tensor) -> Tensor:
        before, after = x_BND[:, : self.class_tokens], x_BND[:, self.class_tokens :]
        return torch.cat([before, *self._registers(x_BND.shape[0]), after], dim=1)

    def _pooled(self, x_BND: Tensor) -> Tensor:
        if self.norm_is_last:
            return self.norm(self._pool(x_BND))
        x_BND = self.norm(x_BND)
        return self._pool(x_BND)

    def _pool(self, x_BND: Tensor) -> Tensor:
        if self.pool == "both":
            return x_BND[:, :2].mean(dim=1)
        if self.pool in ("token", "class"):
            return x_BND[:, 0] if self.class_tokens < 2 else x_BND[:, : self.class_tokens]
        patches_BND = x_BND[:, self.prefix_tokens :] if self.prefix_tokens else x_BND
        if self.pool == "map":
            return self.attn_pool(patches_BND)
        return patches_BND.mean(dim=1) if self.pool == "mean" else patches_BND

    def _classify(self, x: Tensor) -> Tensor:
        if self.neck is not None:
            x = self.neck(x)
        if self.head is None:
            return x
        if self.head_norm is not None:
            x = self.head_norm(x)
        x = self.run_before_head(x)
        if self.head_dist is None:
            return self.head(x)
        cls_BD, dist_BD = x.unbind(1)
        cls_BK = self.head(cls_BD)
        dist_BK = self.head_dist(dist_BD)
        return (cls_BK + dist_BK) * 0.5


def _token(number: int, dim: int) -> nn.Parameter:
    token = nn.Parameter(torch.zeros(1, number, dim))
    nn.init.normal_(token, std=0.02)
    return token
