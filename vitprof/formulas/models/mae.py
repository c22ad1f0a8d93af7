"""A masked autoencoder (He et al. 2021, Masked Autoencoders Are Scalable Vision Learners).

Of the n patches of an image, the encoder sees the kept ones and a class token; the
decoder sees all n, with a mask token in place of each that was dropped, and the class
token; the loss is the mean squared error of the pixels of the dropped patches.
Positions are fixed two-dimensional sines and cosines, a table a stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial

from vitprof.formulas.block import Block
from vitprof.formulas.images import (
    ImageModel,
    channels_option,
    image_size_option,
    patch_size_option,
    pos_embed_option,
)
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.model import depth_option, dim_option, heads_option
from vitprof.formulas.op import Conv, Inline, Linear, Parameter, Shape
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import Size
from vitprof.options import Rule, flag, ratio


@dataclass(frozen=True, kw_only=True)
class MaskedAutoencoder(ImageModel):
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
    mask_ratio: Fraction = ratio(
        "0.75", minimum="0", below="1", help="share of the patches that the encoder does not see"
    )
    class_token: bool = flag(True, help="a class token beside the patches")
    pos_embed: str = pos_embed_option("fixed")

    def rules(self) -> Iterator[Rule]:
        yield from self.fits("dim", self.dim, "heads", self.heads)
        yield from self.fits("decoder_dim", self.decoder_dim, "decoder_heads", self.decoder_heads)
        yield from self.sines_fit("dim", self.dim, self.heads)
        yield from self.sines_fit("decoder dim", self.decoder_dim, self.decoder_heads)
        yield Rule(
            self.class_token or self.kept >= 1,
            lambda: (
                f"mask ratio {float(self.mask_ratio)} leaves the encoder none of {self.patches} "
                "patches, and there is no class token; lower it, or give --class-token"
            ),
        )
        yield from super().rules()

    @cached_property
    def kept(self) -> int:
        """Patches that the encoder sees: all but the masked share, rounded down."""
        dropped, of = self.mask_ratio.numerator, self.mask_ratio.denominator
        return self.patches * (of - dropped) // of

    def blocks(self, batch: Size) -> tuple[Block, Block]:
        rows, columns = self.grid
        kept, patches = Size(self.kept, "kept"), Size(self.patches, "patches")
        encoder = MixerSizes(
            batch=batch,
            tokens=self._with_token(kept).named("N"),
            dim=self.size("dim"),
            heads=self.size("heads"),
            scattered="the patches that the encoder of mae sees lie scattered over the image",
        )
        decoder = MixerSizes(
            batch=batch,
            tokens=self._with_token(patches).named("N"),
            dim=self.size("decoder_dim").named("D"),
            heads=self.size("decoder_heads"),
            grid=None if self.class_token else (Size(rows, "rows"), Size(columns, "columns")),
            scattered="the class token in the decoder of mae lies nowhere",
        )
        return self.block_of(encoder), self.block_of(decoder)

    def _with_token(self, patches: Size) -> Size:
        return patches + 1 if self.class_token else patches

    def forward(self, run: Run[T], x: T, batch: Size) -> T:
        encoder, decoder = self.blocks(batch)
        B, n, kept = batch, Size(self.patches, "patches"), Size(self.kept, "kept")
        D, D_dec = self.size("dim"), self.size("decoder_dim")
        p, C = self.size("patch_size"), self.size("channels")
        N, N_dec, pixels = encoder.sizes.tokens, decoder.sizes.tokens, p * p * C
        token_lies = self.class_token and self.pos_embed_token
        located = n + 1 if token_lies else n
        cls_tokens = [run(Parameter("cls_token", (D,), trained=True))] if self.class_token else []
        tables = [self.table(run, "pos_embed", located, D)] if self.located else []
        mask_token = run(Parameter("mask_token", (D_dec,), trained=True))
        decoder_tables = (
            [self.table(run, "decoder_pos_embed", located, D_dec)] if self.located else []
        )

        def patch_embed(image: T) -> T:
            return run(Conv("proj", B, (n,), (p, p), C, D, rank=2, bias=self.patch_bias), image)

        def encode(image: T) -> tuple[T, T, T]:
            x = run.layer("patch_embed", "PatchEmbed", patch_embed, image)
            for table in tables:
                x = run(Inline("positions", "add", (B, n, D)), x, of_patches(table))
            x, mask, order = drop(x)
            for token in cls_tokens:
                x = run.joined((B, N, D), run.expanded(located_token(token), (B, D)), x)
            for block in run.blocks(
                "blocks", self.size("depth"), "Block", partial(encoder.forward, run)
            ):
                x = block(x)
            return normalised("norm", (B, N), D, x), mask, order

        def of_patches(positions: T) -> T:
            own = run.picked(positions, (n, D)) if token_lies else positions
            return run.expanded(own, (B, n, D))

        def located_token(token: T) -> T:
            for table in tables if token_lies else []:
                token = run(Inline("cls_position", "add", (D,)), token, run.picked(table, (D,)))
            return token

        def normalised(name: str, lead: Shape, dim: Size, x: T) -> T:
            return self.normalise(run, name, lead, dim, x) if self.final_norm else x

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
                run.picked(x, (B, kept, D_dec)) if self.class_token else x,
                run.expanded(mask_token, (B, n - kept, D_dec)),
            )
            patches = run.gathered(shuffled, order, (B, n, D_dec))
            if not token_lies:
                patches = located_in_decoder(patches, n)
            if self.class_token:
                x = run.joined((B, N_dec, D_dec), run.picked(x, (B, D_dec)), patches)
            else:
                x = patches
            if token_lies:
                x = located_in_decoder(x, N_dec)
            for block in run.blocks(
                "decoder_blocks", self.size("decoder_depth"), "Block", partial(decoder.forward, run)
            ):
                x = block(x)
            x = normalised("decoder_norm", (B, N_dec), D_dec, x)
            prediction = run(Linear("decoder_pred", (B, N_dec), D_dec, pixels), x)
            return run.picked(prediction, (B, n, pixels)) if self.class_token else prediction

        def located_in_decoder(x: T, tokens: Size) -> T:
            shape = (B, tokens, D_dec)
            for table in decoder_tables:
                x = run(Inline("decoder_positions", "add", shape), x, run.expanded(table, shape))
            return x

        latent, mask, order = encode(x)
        prediction = decode(latent, order)
        return run(Inline("loss", "squared error", (B, n, pixels)), prediction, x, mask)

    def loss(self, run: Run[T], y: T, batch: Size) -> T:
        return y
