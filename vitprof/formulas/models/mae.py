"""A masked autoencoder (He et al. 2021, Masked Autoencoders Are Scalable Vision Learners).

Of the n patches of an image, the encoder reads the kept ones and a class token. The decoder
reads all n, with a mask token in place of each dropped one, and the class token. The loss is
the mean squared error of the pixels of the dropped patches; with `decoder_output`, of as many
features of another model (Fang et al. 2022, EVA). By default, positions are fixed two-dimensional
sines and cosines, with one table per stage.

Of a video, whole tubes are dropped: the same places at every step in time (Tong et al. 2022,
VideoMAE, section 3.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import prod

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
    decoder_embed_bias: bool = flag(True, help="bias of the linear layer before the decoder")
    predict_kept: bool = flag(
        True,
        help="prediction of the kept patches too, which the loss leaves out; without it as in "
        "VideoMAE",
    )
    mask_ratio: Fraction | float = ratio(
        "0.75",
        minimum="0",
        below="1",
        help="share of the patches dropped before the encoder, which reads int(patches × (1 - it)) "
        "of an image, and of each step in time of a video all but int(patches × it)",
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
        yield Constraint(
            self.predict_kept or self.kept < self.patches,
            lambda: (
                f"mask ratio {plain(self.mask_ratio)} drops none of {self.patches} patches, so "
                "that nothing is predicted; raise it, or give --predict-kept"
            ),
        )
        yield from super().constraints()

    @property
    def steps(self) -> int:
        """Patches along the frames of a video; 1 for an image."""
        return self.grid[0] if self.is_video else 1

    @property
    def places(self) -> int:
        """Number of patches of a step in time, or of an image."""
        return prod(self.grid[-2:])

    @derived
    def kept_places(self) -> int:
        """Number of patches of each step that the encoder reads, as in the authors' codes.

        Of an image `int(places * (1 - mask_ratio))`; of a video all but
        `int(places * mask_ratio)`.
        """
        if self.is_video:
            return self.places - rounded_down(self.places, self.mask_ratio)
        return rounded_down(self.places, 1 - self.mask_ratio)

    @derived
    def kept(self) -> int:
        """Number of patches that the encoder reads."""
        return self.steps * self.kept_places

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
            scattered=self.off_grid
            or "the class token in the decoder of mae has no place on a grid",
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
        steps = Size(self.steps, "steps") if self.is_video else ONE
        places = Size(self.places, "places") if self.is_video else n
        kept_places = Size(self.kept_places, "kept places") if self.is_video else kept
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
            bias = self.patch_bias
            grid = run.conv("proj", image, D, self.patch, positions=self.axes, bias=bias)
            return grid.reshape(B, D, n).transpose(1, 2)

        def encode(image: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
            x = run.layer("patch_embed", "PatchEmbed", patch_embed, image)
            for table in tables:
                x = run.add("positions", x, table.narrow(1, 1, n) if token_has_position else table)
            x, mask, order, dropped = drop(x)
            for token in cls_tokens:
                cls = located_token(token).expand(B, ONE, D)
                x = run.cat([cls, x], 1, N)
            for block in encoder.blocks(run, {}):
                x = block(x)
            return normalised("norm", x), mask, order, dropped

        def located_token(token: Tensor) -> Tensor:
            for table in tables if token_has_position else []:
                token = run.add("cls_position", token, table[:, :1])
            return token

        def normalised(name: str, x: Tensor) -> Tensor:
            return self.normalise(run, name, x) if self.final_norm else x

        def drop(x: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
            shuffle = run.rand(B, places).argsort(1)
            order = shuffle.argsort(1)
            seen = shuffle[:, :kept_places]
            mask = order.ge(kept_places).to("float")
            if self.is_video:
                mask = mask.unsqueeze(1).expand(B, steps, places).reshape(B, n)
            dropped = [] if self.predict_kept else [shuffle[:, kept_places:]]
            return taken(x, seen, kept_places, kept), mask, order, dropped

        def taken(x: Tensor, indices: Tensor, each: Size, whole: Size) -> Tensor:
            """Take the places of these indices at each step: (B, n, D) to (B, whole, D)."""
            D = x.shape[2]
            if not self.is_video:
                return x.gather(1, indices.unsqueeze(2).expand(B, each, D))
            indices = indices.unsqueeze(1).unsqueeze(3).expand(B, steps, each, D)
            return by_step(x, places).gather(2, indices).reshape(B, whole, D)

        def by_step(x: Tensor, each: Size) -> Tensor:
            return x.reshape(B, steps, each, x.shape[2])

        def decode(latent: Tensor, order: Tensor, dropped: list[Tensor]) -> Tensor:
            x = run.linear("decoder_embed", latent, D_dec, bias=self.decoder_embed_bias)
            shuffled = with_masks(x.narrow(1, 1, kept) if self.class_token else x)
            patches = taken(shuffled, order, places, n)
            if not token_has_position:
                patches = located_in_decoder(patches)
            x = run.cat([x[:, :1], patches], 1, N_dec) if self.class_token else patches
            if token_has_position:
                x = located_in_decoder(x)
            for block in decoder.blocks(run, {}):
                x = block(x)
            for one in dropped:
                x = of_dropped(x.narrow(1, 1, n) if self.class_token else x, one)
            x = run.linear("decoder_pred", normalised("decoder_norm", x), predicted)
            return x.narrow(1, 1, n) if self.class_token and self.predict_kept else x

        def with_masks(seen: Tensor) -> Tensor:
            """Put a mask token behind the kept places of each step, for each dropped one."""
            if not self.is_video:
                return run.cat([seen, mask_token.expand(B, n - kept, D_dec)], 1, n)
            mask = mask_token.unsqueeze(1).expand(B, steps, places - kept_places, D_dec)
            both = run.cat([by_step(seen, kept_places), mask], 2, places)
            return both.reshape(B, n, D_dec)

        def of_dropped(x: Tensor, dropped: Tensor) -> Tensor:
            return taken(x, dropped, places - kept_places, n - kept)

        def located_in_decoder(x: Tensor) -> Tensor:
            for table in decoder_tables:
                x = run.add("decoder_positions", x, table)
            return x

        def loss(image: Tensor, prediction: Tensor, mask: Tensor, dropped: list[Tensor]) -> Tensor:
            if self.decoder_output:
                target = run.rand(*prediction.shape).to("float")
            else:
                target = self.patchify(image)
                for one in dropped:
                    target = of_dropped(target, one)
            for one in dropped:
                mask = of_dropped(mask.unsqueeze(2), one).squeeze(2)
            return run.squared_error("loss", prediction, target, mask)

        latent, mask, order, dropped = encode(x)
        prediction = decode(latent, order, dropped)
        return loss(x, prediction, mask, dropped)

    def loss(self, run: Run, y: Tensor) -> Tensor:
        return y
