"""A masked autoencoder (He et al. 2021, Masked Autoencoders Are Scalable Vision Learners).

Of the n patches of an image, the encoder sees the kept ones and a class token; the
decoder sees all n, with a mask token in place of each that was dropped, and the class
token; the loss is the mean squared error of the pixels of the dropped patches.
Positions are fixed two-dimensional sines and cosines, a table a stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import lcm

from vitprof.errors import SpecError, listing
from vitprof.formulas.block import block
from vitprof.formulas.layer import Layer
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.model import (
    Model,
    activation_option,
    channels_option,
    check_blocks,
    depth_option,
    dim_option,
    heads_option,
    hidden_width,
    image_size_option,
    mlp_ratio_option,
    patch_size_option,
)
from vitprof.formulas.op import Conv, Inline, LayerNorm, Linear, Parameter
from vitprof.formulas.size import Size
from vitprof.options import check_divides, ratio


@dataclass(frozen=True, kw_only=True)
class MaskedAutoencoder(Model):
    """A masked autoencoder, with the sizes of a report on its mixers as defaults."""

    name = "mae"
    summary = "masked autoencoder: encoder on the kept patches, decoder on all"
    source = "He et al. 2021, Masked Autoencoders Are Scalable Vision Learners"
    module = "vitprof.modules.models.mae:MaskedAutoencoderViT"

    image_size: int = image_size_option(256)
    channels: int = channels_option(1)
    patch_size: int = patch_size_option(8)
    dim: int = dim_option(128, "a token")
    depth: int = depth_option(12, "the encoder")
    heads: int = heads_option(8, "the encoder")
    decoder_dim: int = dim_option(512, "a token in the decoder", "decoder D")
    decoder_depth: int = depth_option(8, "the decoder", "decoder depth")
    decoder_heads: int = heads_option(16, "the decoder")
    mlp_ratio: Fraction = mlp_ratio_option("4")
    mask_ratio: Fraction = ratio(
        "0.75", minimum="0", below="1", help="share of the patches that the encoder does not see"
    )
    activation: str = activation_option("gelu")

    def check(self) -> None:
        check_divides("image_size", self.image_size, "patch_size", self.patch_size)
        check_blocks("dim", self.dim, "heads", self.heads, self.mlp_ratio)
        check_blocks(
            "decoder_dim", self.decoder_dim, "decoder_heads", self.decoder_heads, self.mlp_ratio
        )
        for name, dim, heads in (
            ("dim", self.dim, self.heads),
            ("decoder dim", self.decoder_dim, self.decoder_heads),
        ):
            if dim % 4:
                step = lcm(4, heads)
                near = [n for n in (dim // step * step, (dim // step + 1) * step) if n]
                raise SpecError(
                    f"{name} {dim} is not divisible by 4, as the sines and cosines of two "
                    f"axes need; with these heads {name} can be {listing(near)}"
                )

    @cached_property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @cached_property
    def kept(self) -> int:
        """Patches that the encoder sees: all but the masked share, rounded down."""
        seen = 1 - self.mask_ratio
        return self.patches * seen.numerator // seen.denominator

    def formula(self, batch: int = 1) -> Layer:
        B, n, kept = Size(batch, "B"), Size(self.patches, "patches"), Size(self.kept, "kept")
        D, D_dec = self.size("dim"), self.size("decoder_dim")
        p, C = self.size("patch_size"), self.size("channels")
        N, N_dec = (kept + 1).named("N"), (n + 1).named("N")
        pixels = p * p * C
        return Layer(
            "",
            "MaskedAutoencoderViT",
            (
                Layer("patch_embed", "PatchEmbed", (Conv("proj", B, (n,), (p, p), C, D, rank=2),)),
                Inline("positions", "add", (B, n + 1, D)),
                self._blocks(
                    "blocks",
                    MixerSizes(
                        batch=B,
                        tokens=N,
                        dim=D,
                        heads=self.size("heads"),
                    ),
                    self.size("depth"),
                ),
                LayerNorm("norm", (B, N), D),
                Linear("decoder_embed", (B, N), D, D_dec),
                Inline("decoder_positions", "add", (B, N_dec, D_dec)),
                self._blocks(
                    "decoder_blocks",
                    MixerSizes(
                        batch=B,
                        tokens=N_dec,
                        dim=D_dec.named("D"),
                        heads=self.size("decoder_heads"),
                    ),
                    self.size("decoder_depth"),
                ),
                LayerNorm("decoder_norm", (B, N_dec), D_dec),
                Linear("decoder_pred", (B, N_dec), D_dec, pixels),
                Inline("loss", "squared error", (B, n, pixels)),
                Parameter("cls_token", (D,), trained=True),
                Parameter("pos_embed", (n + 1, D), trained=False),
                Parameter("mask_token", (D_dec,), trained=True),
                Parameter("decoder_pos_embed", (n + 1, D_dec), trained=False),
            ),
        )

    def _blocks(self, name: str, sizes: MixerSizes, depth: Size) -> Layer:
        hidden = hidden_width(sizes.dim.value, self.mlp_ratio)
        one = block(
            "0",
            sizes,
            mixer=self.mixer,
            hidden=hidden,
            activation=self.activation,
            repeat=depth,
        )
        return Layer(name, "ModuleList", (one,))

    def input_shape(self, batch: int = 1) -> tuple[int, ...]:
        return (batch, self.channels, self.image_size, self.image_size)
