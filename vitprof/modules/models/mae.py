"""A masked autoencoder; see `vitprof.formulas.models.mae`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vitprof.modules.parts.norms import NORMS
from vitprof.modules.patches import make_positions, patchify
from vitprof.modules.stage import make_blocks

if TYPE_CHECKING:
    from vitprof.formulas.models.mae import MaskedAutoencoder


class PatchEmbed(nn.Module):
    """Patch embedding by a convolution with stride equal to kernel size: to (B, patches, D)."""

    def __init__(self, patch_size: int, channels: int, dim: int, *, bias: bool) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch_size, stride=patch_size, bias=bias)
        self.norm = nn.Identity()

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.norm(self.proj(image_BCHW).flatten(2).transpose(1, 2))


class MaskedAutoencoderViT(nn.Module):
    """Images (B, C, H, W) to (loss, predicted patches, mask).

    Predicted patches are (B, patches, patch * patch * C), or as many features as are asked for;
    the mask is (B, patches), 1 for a dropped patch.
    """

    def __init__(self, spec: MaskedAutoencoder) -> None:
        super().__init__()
        self.spec = spec
        self.prefix_tokens = 1 if spec.class_token else 0
        self.prefix_positions = self.prefix_tokens if spec.pos_embed_token else 0
        self.patch_embed = PatchEmbed(
            spec.patch_size, spec.channels, spec.dim, bias=spec.patch_bias
        )
        if self.prefix_tokens:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, spec.dim))
            nn.init.normal_(self.cls_token, std=0.02)
        self.pos_embed = make_positions(
            spec.pos_embed, spec.grid, spec.dim, prefix_tokens=self.prefix_positions
        )
        encoder, decoder = spec.stages
        norm = NORMS[spec.norm] if spec.final_norm else nn.Identity
        self.blocks = make_blocks(encoder)
        self.norm = norm(spec.dim)
        self.decoder_embed = nn.Linear(spec.dim, spec.decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, spec.decoder_dim))
        self.decoder_pos_embed = make_positions(
            spec.pos_embed, spec.grid, spec.decoder_dim, prefix_tokens=self.prefix_positions
        )
        self.decoder_blocks = make_blocks(decoder)
        self.decoder_norm = norm(spec.decoder_dim)
        pixels = spec.patch_size**2 * spec.channels
        self.decoder_pred = nn.Linear(spec.decoder_dim, spec.decoder_output or pixels)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latent_BND, mask_BN, order_BN = self.encode(image_BCHW)
        prediction_BNP = self.decode(latent_BND, order_BN)
        return self.loss(image_BCHW, prediction_BNP, mask_BN), prediction_BNP, mask_BN

    def encode(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode a random choice of the patches.

        Returns:
            The encoded class token, if there is one, and kept patches (B, N, D); the mask
            (B, patches); the position of each patch in the shuffled order (B, patches).
        """
        x_BND = self.patch_embed(image_BCHW)
        if self.pos_embed is not None:
            x_BND = x_BND + _after(self.pos_embed, self.prefix_positions)
        x_BND, mask_BN, order_BN = self._mask(x_BND)
        if self.prefix_tokens:
            cls_B1D = self._token_with_position().expand(x_BND.shape[0], -1, -1)
            x_BND = torch.cat([cls_B1D, x_BND], dim=1)
        for block in self.blocks:
            x_BND = block(x_BND)
        return self.norm(x_BND), mask_BN, order_BN

    def _token_with_position(self) -> Tensor:
        if self.pos_embed is None or not self.prefix_positions:
            return self.cls_token
        return self.cls_token + self.pos_embed[:, :1]

    def decode(self, latent_BND: Tensor, order_BN: Tensor) -> Tensor:
        """Predict the pixels of every patch: (B, patches, patch * patch * C)."""
        x_BND = self.decoder_embed(latent_BND)
        B, tokens, D = x_BND.shape
        dropped = self.spec.patches + self.prefix_tokens - tokens
        mask_BND = self.mask_token.expand(B, dropped, -1)
        shuffled_BND = torch.cat([_after(x_BND, self.prefix_tokens), mask_BND], dim=1)
        patches_BND = shuffled_BND.gather(1, order_BN[:, :, None].expand(-1, -1, D))
        positions = self.decoder_pos_embed
        if positions is not None and not self.prefix_positions:
            patches_BND = patches_BND + positions
        x_BND = torch.cat([x_BND[:, :1], patches_BND], dim=1) if self.prefix_tokens else patches_BND
        if positions is not None and self.prefix_positions:
            x_BND = x_BND + positions
        for block in self.decoder_blocks:
            x_BND = block(x_BND)
        return _after(self.decoder_pred(self.decoder_norm(x_BND)), self.prefix_tokens)

    def loss(self, image_BCHW: Tensor, prediction_BNP: Tensor, mask_BN: Tensor) -> Tensor:
        """Return the mean squared error of the dropped patches; 0 if none was dropped.

        The target is the pixels; if features are predicted, random numbers.
        """
        if self.spec.decoder_output:
            shape = prediction_BNP.shape
            target_BNP = torch.rand(shape, device=image_BCHW.device).to(self.mask_token.dtype)
        else:
            target_BNP = patchify(image_BCHW, self.spec.patch_size)
        error_BN = (prediction_BNP - target_BNP).square().mean(dim=-1)
        return (error_BN * mask_BN).sum() / mask_BN.sum().clamp(min=1)

    def _mask(self, x_BND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keep `spec.kept` random patches; return them, the mask and the shuffled order."""
        B, N, D = x_BND.shape
        shuffle_BN = torch.rand(B, N, device=x_BND.device).argsort(dim=1)
        order_BN = shuffle_BN.argsort(dim=1)
        kept_BN = shuffle_BN[:, : self.spec.kept]
        mask_BN = (order_BN >= self.spec.kept).to(self.mask_token.dtype)
        return x_BND.gather(1, kept_BN[:, :, None].expand(-1, -1, D)), mask_BN, order_BN


def _after(x_BND: Tensor, tokens: int) -> Tensor:
    """Return the tokens after the first ones; x itself, and no view of it, if there are none."""
    return x_BND[:, tokens:] if tokens else x_BND
