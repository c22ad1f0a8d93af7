"""A masked autoencoder; see `vitprof.formulas.models.mae`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vitprof.modules.parts.norms import make_norm
from vitprof.modules.patches import make_conv, make_positions, patchify
from vitprof.modules.stage import make_blocks

if TYPE_CHECKING:
    from vitprof.formulas.models.mae import MaskedAutoencoder


class PatchEmbed(nn.Module):
    """Patch embedding by a convolution with stride equal to kernel size: to (B, patches, D)."""

    def __init__(self, spec: MaskedAutoencoder) -> None:
        super().__init__()
        patch, bias = [side.value for side in spec.patch], spec.patch_bias
        self.proj = make_conv(spec.channels, spec.dim, patch, patch, bias=bias)
        self.norm = nn.Identity()

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.norm(self.proj(image_BCHW).flatten(2).transpose(1, 2))


class MaskedAutoencoderViT(nn.Module):
    """Images (B, C, H, W), or videos (B, C, T, H, W), to (loss, predicted patches, mask).

    Predicted patches are (B, patches, patch * patch * C), or as many features as are asked for,
    and those of the dropped patches alone if only they are predicted; the mask is (B, patches), 1
    for a dropped patch.
    """

    def __init__(self, spec: MaskedAutoencoder) -> None:
        super().__init__()
        self.spec = spec
        self.prefix_tokens = 1 if spec.class_token else 0
        self.prefix_positions = self.prefix_tokens if spec.pos_embed_token else 0
        self.patch_embed = PatchEmbed(spec)
        if self.prefix_tokens:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, spec.dim))
            nn.init.normal_(self.cls_token, std=0.02)
        self.pos_embed = make_positions(
            spec.pos_embed, spec.grid, spec.dim, prefix_tokens=self.prefix_positions
        )
        encoder, decoder = spec.stages
        self.blocks = make_blocks(encoder)
        self.norm = make_norm(spec, spec.dim) if spec.final_norm else nn.Identity()
        bias = spec.decoder_embed_bias
        self.decoder_embed = nn.Linear(spec.dim, spec.decoder_dim, bias=bias)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, spec.decoder_dim))
        self.decoder_pos_embed = make_positions(
            spec.pos_embed, spec.grid, spec.decoder_dim, prefix_tokens=self.prefix_positions
        )
        self.decoder_blocks = make_blocks(decoder)
        self.decoder_norm = make_norm(spec, spec.decoder_dim) if spec.final_norm else nn.Identity()
        predicted = spec.decoder_output or spec.pixels.value
        self.decoder_pred = nn.Linear(spec.decoder_dim, predicted)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latent_BND, mask_BN, order_BN, dropped = self.encode(image_BCHW)
        prediction_BNP = self.decode(latent_BND, order_BN, *dropped)
        return self.loss(image_BCHW, prediction_BNP, mask_BN, *dropped), prediction_BNP, mask_BN

    def encode(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Encode a random choice of the patches.

        Returns:
            The encoded class token, if there is one, and kept patches (B, N, D); the mask
            (B, patches); the position of each place in the shuffled order (B, places); and, if
            only they are predicted, the dropped places (B, dropped) in a list.
        """
        x_BND = self.patch_embed(image_BCHW)
        if self.pos_embed is not None:
            x_BND = x_BND + _after(self.pos_embed, self.prefix_positions)
        x_BND, mask_BN, order_BN, dropped = self._mask(x_BND)
        if self.prefix_tokens:
            cls_B1D = self._token_with_position().expand(x_BND.shape[0], -1, -1)
            x_BND = torch.cat([cls_B1D, x_BND], dim=1)
        for block in self.blocks:
            x_BND = block(x_BND)
        return self.norm(x_BND), mask_BN, order_BN, dropped

    def _token_with_position(self) -> Tensor:
        if self.pos_embed is None or not self.prefix_positions:
            return self.cls_token
        return self.cls_token + self.pos_embed[:, :1]

    def decode(self, latent_BND: Tensor, order_BN: Tensor, *dropped: Tensor) -> Tensor:
        """Predict the pixels of every patch: (B, patches, patch * patch * C)."""
        x_BND = self.decoder_embed(latent_BND)
        shuffled_BND = self._with_masks(_after(x_BND, self.prefix_tokens))
        patches_BND = self._taken(shuffled_BND, order_BN)
        positions = self.decoder_pos_embed
        if positions is not None and not self.prefix_positions:
            patches_BND = patches_BND + positions
        x_BND = torch.cat([x_BND[:, :1], patches_BND], dim=1) if self.prefix_tokens else patches_BND
        if positions is not None and self.prefix_positions:
            x_BND = x_BND + positions
        for block in self.decoder_blocks:
            x_BND = block(x_BND)
        for dropped_BN in dropped:
            x_BND = self._taken(_after(x_BND, self.prefix_tokens), dropped_BN)
            return self.decoder_pred(self.decoder_norm(x_BND))
        return _after(self.decoder_pred(self.decoder_norm(x_BND)), self.prefix_tokens)

    def _with_masks(self, seen_BND: Tensor) -> Tensor:
        """Put a mask token behind the kept places of each step in time, for each dropped one."""
        (B, _, D), spec = seen_BND.shape, self.spec
        dropped = spec.places - spec.kept_places
        if not spec.is_video:
            return torch.cat([seen_BND, self.mask_token.expand(B, dropped, -1)], dim=1)
        mask_BTND = self.mask_token[:, None].expand(B, spec.steps, dropped, -1)
        seen_BTND = seen_BND.reshape(B, spec.steps, spec.kept_places, D)
        return torch.cat([seen_BTND, mask_BTND], dim=2).reshape(B, spec.patches, D)

    def _taken(self, x_BND: Tensor, indices_BN: Tensor) -> Tensor:
        """Take the places of these indices at each step in time."""
        (B, _, D), spec = x_BND.shape, self.spec
        if not spec.is_video:
            return x_BND.gather(1, indices_BN[:, :, None].expand(-1, -1, D))
        indices_BTND = indices_BN[:, None, :, None].expand(-1, spec.steps, -1, D)
        x_BTND = x_BND.reshape(B, spec.steps, spec.places, D)
        return x_BTND.gather(2, indices_BTND).reshape(B, -1, D)

    def loss(
        self, image_BCHW: Tensor, prediction_BNP: Tensor, mask_BN: Tensor, *dropped: Tensor
    ) -> Tensor:
        """Return the mean squared error of the dropped patches; 0 if none was dropped.

        The target is the pixels; if features are predicted, random numbers.
        """
        if self.spec.decoder_output:
            shape = prediction_BNP.shape
            target_BNP = torch.rand(shape, device=image_BCHW.device).to(self.mask_token.dtype)
        else:
            target_BNP = patchify(image_BCHW, [side.value for side in self.spec.patch])
            for dropped_BN in dropped:
                target_BNP = self._taken(target_BNP, dropped_BN)
        for dropped_BN in dropped:
            mask_BN = self._taken(mask_BN[:, :, None], dropped_BN).squeeze(2)
        error_BN = (prediction_BNP - target_BNP).square().mean(dim=-1)
        return (error_BN * mask_BN).sum() / mask_BN.sum().clamp(min=1)

    def _mask(self, x_BND: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Keep random places of the frames, the same at each step in time of a video.

        Returns:
            The kept patches, the mask (B, patches), the order of the places, and the dropped ones
            if only they are predicted.
        """
        B, spec = x_BND.shape[0], self.spec
        shuffle_BN = torch.rand(B, spec.places, device=x_BND.device).argsort(dim=1)
        order_BN = shuffle_BN.argsort(dim=1)
        seen_BN = shuffle_BN[:, : spec.kept_places]
        mask_BN = (order_BN >= spec.kept_places).to(self.mask_token.dtype)
        if spec.is_video:
            mask_BN = mask_BN[:, None].expand(-1, spec.steps, -1).reshape(B, spec.patches)
        dropped = [] if spec.predict_kept else [shuffle_BN[:, spec.kept_places :]]
        return self._taken(x_BND, seen_BN), mask_BN, order_BN, dropped


def _after(x_BND: Tensor, tokens: int) -> Tensor:
    """Return the tokens after the first ones; x itself, and no view of it, if there are none."""
    return x_BND[:, tokens:] if tokens else x_BND
