"""A masked autoencoder (He et al. 2021, Masked Autoencoders Are Scalable Vision Learners).

Of the n patches of an image, the encoder sees the kept ones and a class token; the
decoder sees all n, with a mask token in place of each that was dropped, and the class
token; the loss is the mean squared error of the pixels of the dropped patches.
Positions are fixed two-dimensional sines and cosines, a table a stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from math import lcm

from vitprof.errors import SpecError, listing
from vitprof.formulas.block import Block
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.model import (
    Model,
    activation_option,
    channels_option,
    check_blocks,
    depth_option,
    dim_option,
    heads_option,
    image_size_option,
    mlp_ratio_option,
    patch_size_option,
)
from vitprof.formulas.op import Conv, Inline, LayerNorm, Linear, Parameter, Shape
from vitprof.formulas.run import Run, T
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
        super().check()

    @cached_property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @cached_property
    def kept(self) -> int:
        """Patches that the encoder sees: all but the masked share, rounded down."""
        seen = 1 - self.mask_ratio
        return self.patches * seen.numerator // seen.denominator

    def input(self, batch: Size) -> Shape:
        side = self.size("image_size")
        return (batch, self.size("channels"), side, side)

    def blocks(self, batch: Size) -> tuple[Block, Block]:
        encoder = MixerSizes(
            batch=batch,
            tokens=(Size(self.kept, "kept") + 1).named("N"),
            dim=self.size("dim"),
            heads=self.size("heads"),
            scattered="the patches that the encoder of mae sees lie scattered over the image",
        )
        decoder = MixerSizes(
            batch=batch,
            tokens=(Size(self.patches, "patches") + 1).named("N"),
            dim=self.size("decoder_dim").named("D"),
            heads=self.size("decoder_heads"),
            scattered="the class token in the decoder of mae lies nowhere",
        )
        return self._block(encoder), self._block(decoder)

    def _block(self, sizes: MixerSizes) -> Block:
        return Block(
            sizes=sizes,
            mixer=self.mixer,
            mlp_ratio=self.mlp_ratio,
            activation=self.activation,
        )

    def forward(self, run: Run[T], x: T, batch: Size) -> T:
        encoder, decoder = self.blocks(batch)
        B, n, kept = batch, Size(self.patches, "patches"), Size(self.kept, "kept")
        D, D_dec = self.size("dim"), self.size("decoder_dim")
        p, C = self.size("patch_size"), self.size("channels")
        N, N_dec, pixels = encoder.sizes.tokens, decoder.sizes.tokens, p * p * C
        cls_token = run(Parameter("cls_token", (D,), trained=True))
        pos_embed = run(Parameter("pos_embed", (n + 1, D), trained=False))
        mask_token = run(Parameter("mask_token", (D_dec,), trained=True))
        decoder_pos = run(Parameter("decoder_pos_embed", (n + 1, D_dec), trained=False))

        def patch_embed(image: T) -> T:
            return run(Conv("proj", B, (n,), (p, p), C, D, rank=2), image)

        def encode(image: T) -> tuple[T, T, T]:
            x = run.layer("patch_embed", "PatchEmbed", patch_embed, image)
            x = run(Inline("positions", "add", (B, n, D)), x, pos_embed)
            x, mask, order = drop(x)
            cls = run(Inline("cls_position", "add", (D,)), cls_token, pos_embed)
            cls = run.expanded(cls, (B, D))
            x = run.joined((B, N, D), cls, x)
            for block in run.blocks(
                "blocks", self.size("depth"), "Block", partial(encoder.forward, run)
            ):
                x = block(x)
            return run(LayerNorm("norm", (B, N), D), x), mask, order

        def drop(x: T) -> tuple[T, T, T]:
            shuffle = run.sorted(run.fresh((B, n), "fp32"))
            order = run.sorted(shuffle)
            mask = later(run.fresh((B, n), "bool"))
            return run.gathered(x, shuffle, (B, kept, D)), mask, order

        def later(dropped: T) -> T:
            return run.fresh((B, n), "float")

        def decode(latent: T, order: T) -> T:
            x = run(Linear("decoder_embed", (B, N), D, D_dec), latent)
            shuffled = run.joined(
                (B, n, D_dec),
                run.picked(x, (B, kept, D_dec)),
                run.expanded(mask_token, (B, n - kept, D_dec)),
            )
            patches = run.gathered(shuffled, order, (B, n, D_dec))
            x = run.joined((B, N_dec, D_dec), run.picked(x, (B, D_dec)), patches)
            x = run(Inline("decoder_positions", "add", (B, N_dec, D_dec)), x, decoder_pos)
            for block in run.blocks(
                "decoder_blocks", self.size("decoder_depth"), "Block", partial(decoder.forward, run)
            ):
                x = block(x)
            x = run(LayerNorm("decoder_norm", (B, N_dec), D_dec), x)
            return run.picked(
                run(Linear("decoder_pred", (B, N_dec), D_dec, pixels), x), (B, n, pixels)
            )

        latent, mask, order = encode(x)
        prediction = decode(latent, order)
        return run(Inline("loss", "squared error", (B, n, pixels)), prediction, x, mask)

    def loss(self, run: Run[T], y: T, batch: Size) -> T:
        return y
