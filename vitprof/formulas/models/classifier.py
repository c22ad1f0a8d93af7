"""A vision transformer classifier (Dosovitskiy et al. 2020).

The image's patches, flattened, go through a linear layer; a class token joins them,
learned positions are added; the class token's output is normalised and classified.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial

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
from vitprof.formulas.op import Inline, LayerNorm, Linear, Parameter, Shape
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import Size
from vitprof.options import check_divides, choice, whole


@dataclass(frozen=True, kw_only=True)
class Classifier(Model):
    """An image classifier, with the sizes of a report on Fashion-MNIST as defaults."""

    name = "classifier"
    summary = "vision transformer with a class token and a linear head"
    source = "Dosovitskiy et al. 2020, An Image Is Worth 16x16 Words, eqs. 1 to 4"
    module = "vitprof.modules.models.classifier:VisionTransformer"

    image_size: int = image_size_option(28)
    channels: int = channels_option(1)
    patch_size: int = patch_size_option(4)
    dim: int = dim_option(64, "a token")
    depth: int = depth_option(4, "the encoder")
    heads: int = heads_option(4, "the encoder")
    mlp_ratio: Fraction = mlp_ratio_option("4")
    activation: str = activation_option("relu")
    pool: str = choice(
        "token",
        names=("token", "mean"),
        help="what is classified: a class token, or the mean of the patches",
    )
    classes: int = whole(10, symbol="classes", help="classes to tell apart")

    def check(self) -> None:
        check_divides("image_size", self.image_size, "patch_size", self.patch_size)
        check_blocks("dim", self.dim, "heads", self.heads, self.mlp_ratio)
        super().check()

    @cached_property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    def input(self, batch: Size) -> Shape:
        side = self.size("image_size")
        return (batch, self.size("channels"), side, side)

    def blocks(self, batch: Size) -> tuple[Block]:
        n, side = Size(self.patches, "patches"), self.image_size // self.patch_size
        with_token = self.pool == "token"
        sizes = MixerSizes(
            batch=batch,
            tokens=(n + 1 if with_token else n).named("N"),
            dim=self.size("dim"),
            heads=self.size("heads"),
            grid=None if with_token else (Size(side, "rows"), Size(side, "columns")),
            scattered="the class token lies nowhere; --pool mean does without it",
        )
        return (
            Block(
                sizes=sizes,
                mixer=self.mixer,
                mlp_ratio=self.mlp_ratio,
                activation=self.activation,
            ),
        )

    def forward(self, run: Run[T], x: T, batch: Size) -> T:
        (block,) = self.blocks(batch)
        B, N, D = block.sizes.batch, block.sizes.tokens, block.sizes.dim
        n, p, C = Size(self.patches, "patches"), self.size("patch_size"), self.size("channels")
        tokens, pixels, with_token = (B, N, D), p * p * C, self.pool == "token"
        cls_token = run(Parameter("cls_token", (D,), trained=True)) if with_token else None
        pos_embed = run(Parameter("pos_embed", (n + 1 if with_token else n, D), trained=True))

        def patch_embed(x: T) -> T:
            return run(Linear("proj", (B, n), pixels, D), run.copy(x))

        x = run.layer("patch_embed", "FlatPatchEmbed", patch_embed, x)
        if cls_token is not None:
            x = run.joined(tokens, run.expanded(cls_token, (B, D)), run.reordered(x, B))
        x = run(Inline("positions", "add", tokens), x, run.expanded(pos_embed, tokens))
        for one in run.blocks("blocks", self.size("depth"), "Block", partial(block.forward, run)):
            x = one(x)
        if with_token:
            x = run(LayerNorm("norm", (B,), D), run.picked(x, (B, D)))
        else:
            x = run(LayerNorm("norm", (B, N), D), x)
            x = run(Inline("pool", "mean", tokens, out=(B, D)), x)
        return run(Linear("head", (B,), D, self.size("classes")), x)

    def loss(self, run: Run[T], y: T, batch: Size) -> T:
        return run(Inline("loss", "cross entropy", (batch, self.size("classes"))), y)
