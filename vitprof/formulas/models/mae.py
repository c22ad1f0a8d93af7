"""A masked autoencoder (He et al. 2021, Masked Autoencoders Are Scalable Vision Learners).

Of the n patches of an image, the encoder reads the kept ones and a class token. The decoder
reads all n, with a mask token in place of each dropped one, and the class token. The loss is
the mean squared error of the pixels of the dropped patches; with `decoder_output`, of as many
features of another model (Fang et al. 2022, EVA). By default, positions are fixed two-dimensional
sines and cosines, with one table per stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from vitprof.formulas.images import (
    ImageModel,
    channels_option,
    image_size_option,
    patch_size_option,
    pos_embed_option,
)
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.model import depth_option, dim_option, heads_option
from vitprof.formulas.parts.mlps import mlp_hidden_option
from vitprof.formulas.run import Run
from vitprof.formulas.stage import Stage
from vitprof.formulas.tensor import Tensor
from vitprof.values.derived import derived
from vitprof.values.options import Constraint, flag, plain, ratio, whole
from vitprof.values.ratios import rounded_down
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class MaskedAutoencoder(ImageModel):
    """A masked autoencoder; the default sizes are those of a report on its mixers."""

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
    decoder_dim: int = dim_option(512, "a token in the decoder", "decoder D", heads="decoder_heads")
    decoder_depth: int = depth_option(8, "the decoder", "decoder depth")
    decoder_heads: int = heads_option(16, "the decoder")
    mlp_hidden: int = mlp_hidden_option("0 for dim × mlp ratio", "the encoder's MLP")
    decoder_mlp_hidden: int = mlp_hidden_option(
        "0 for decoder dim × mlp ratio", "the decoder's MLP"
    )
    decoder_output: int = whole(
        0,
        minimum=0,
        help="channels that the decoder predicts of a patch, such as features of another model, "
        "for which random numbers stand in the loss; 0 for its pixels",
    )
    mask_ratio: Fraction | float = ratio(
        "0.75",
        minimum="0",
        below="1",
        help="share of the patches dropped before the encoder, which reads int(patches × (1 - it))",
    )
    class_token: bool = flag(True, help="class token before the patches")
    pos_embed: str = pos_embed_option("fixed")

    def constraints(self) -> Iterator[Constraint]:
        yield from self.fits("dim", self.dim, "heads", self.heads, self.mlp_hidden)
        yield from self.fits(
            *("decoder_dim", self.decoder_dim, "decoder_heads", self.decoder_heads),
            self.decoder_mlp_hidden,
        )
        yield from self.sines_fit("dim", self.dim, self.heads)
        yield from self.sines_fit("decoder dim", self.decoder_dim, self.decoder_heads)
        yield Constraint(
            self.class_token or self.kept >= 1,
            lambda: (
                f"mask ratio {plain(self.mask_ratio)} leaves the encoder none of {self.patches} "
                "patches, and there is no class token; lower it, or give --class-token"
            ),
        )
        yield from super().constraints()

    @derived
    def kept(self) -> int:
        """Number of patches that the encoder reads: `int(patches * (1 - mask_ratio))`, as in the
        authors' code."""
        return rounded_down(self.patches, 1 - self.mask_ratio)

    @derived
    def stages(self) -> tuple[Stage, Stage]:
        kept = self._with_token(Size(self.kept, "kept")).named("N")
        patches = self._with_token(Size(self.patches, "patches")).named("N")
        without_prefix = "--no-class-token leaves out the class token" if self.class_token else ""
        encoder = MixerSizes(
            tokens=kept,
            dim=self.size("dim"),
            heads=self.size("heads"),
            scattered="the patches that the encoder of mae keeps are scattered over the image",
            without_prefix=without_prefix,
            beside=(patches,),
        )
        decoder = MixerSizes(
            tokens=patches,
            dim=self.size("decoder_dim"),
            heads=self.size("decoder_heads"),
            grid=None if self.class_token else self.sides,
            scattered="the class token in the decoder of mae has no place on a grid",
            without_prefix=without_prefix,
            beside=(kept,),
        )
        return (
            self.stage("blocks", self.size("depth"), encoder, mlp_hidden=self.mlp_hidden),
            self.stage(
                *("decoder_blocks", self.size("decoder_depth"), decoder),
                mlp_hidden=self.decoder_mlp_hidden,
            ),
        )

    def _with_token(self, patches: Size) -> Size:
        return patches + 1 if self.class_token else patches

    def forward(self, run: Run, x: Tensor) -> Tensor:
        B, D, D_dec = x.shape[0], self.size("dim"), self.size("decoder_dim")
        n, kept = Size(self.patches, "patches"), Size(self.kept, "kept")
        features = Size(self.decoder_output, "features")
        predicted = features if self.decoder_output else self.pixels
        encoder, decoder = self.stages
        N, N_dec = encoder.sizes.tokens, decoder.sizes.tokens
        token_has_position = self.class_token and self.pos_embed_token
        placed = n + 1 if token_has_position else n
        cls_tokens = [run.parameter("cls_token", ONE, ONE, D)] if self.class_token else []
        tables = [self.table(run, "pos_embed", placed, D)] if self.has_table else []
        mask_token = run.parameter("mask_token", ONE, ONE, D_dec)
        decoder_tables = (
            [self.table(run, "decoder_pos_embed", placed, D_dec)] if self.has_table else []
        )

        def patch_embed(image: Tensor) -> Tensor:
            p, bias = self.size("patch_size"), self.patch_bias
            grid = run.conv("proj", image, D, (p, p), positions=self.sides, bias=bias)
            return grid.reshape(B, D, n).transpose(1, 2)

        def encode(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            x = run.layer("patch_embed", "PatchEmbed", patch_embed, image)
            for table in tables:
                x = run.add("positions", x, table.narrow(1, 1, n) if token_has_position else table)
            x, mask, order = drop(x)
            for token in cls_tokens:
                cls = located_token(token).expand(B, ONE, D)
                x = run.cat([cls, x], 1, N)
            for block in encoder.blocks(run, {}):
                x = block(x)
            return normalised("norm", x), mask, order

        def located_token(token: Tensor) -> Tensor:
            for table in tables if token_has_position else []:
                token = run.add("cls_position", token, table[:, :1])
            return token

        def normalised(name: str, x: Tensor) -> Tensor:
            return self.normalise(run, name, x) if self.final_norm else x

        def drop(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            shuffle = run.rand(B, n).argsort(1)
            order = shuffle.argsort(1)
            seen = shuffle[:, :kept]
            mask = order.ge(kept).to("float")
            return x.gather(1, seen.unsqueeze(2).expand(B, kept, D)), mask, order

        def decode(latent: Tensor, order: Tensor) -> Tensor:
            x = run.linear("decoder_embed", latent, D_dec)
            mask = mask_token.expand(B, n - kept, D_dec)
            patches = x.narrow(1, 1, kept) if self.class_token else x
            shuffled = run.cat([patches, mask], 1, n)
            patches = shuffled.gather(1, order.unsqueeze(2).expand(B, n, D_dec))
            if not token_has_position:
                patches = located_in_decoder(patches)
            x = run.cat([x[:, :1], patches], 1, N_dec) if self.class_token else patches
            if token_has_position:
                x = located_in_decoder(x)
            for block in decoder.blocks(run, {}):
                x = block(x)
            x = run.linear("decoder_pred", normalised("decoder_norm", x), predicted)
            return x.narrow(1, 1, n) if self.class_token else x

        def located_in_decoder(x: Tensor) -> Tensor:
            for table in decoder_tables:
                x = run.add("decoder_positions", x, table)
            return x

        def loss(image: Tensor, prediction: Tensor, mask: Tensor) -> Tensor:
            if self.decoder_output:
                target = run.rand(B, n, features).to("float")
            else:
                target = self.patchify(image)
            return run.squared_error("loss", prediction, target, mask)

        latent, mask, order = encode(x)
        prediction = decode(latent, order)
        return loss(x, prediction, mask)

    def loss(self, run: Run, y: Tensor) -> Tensor:
        return y
