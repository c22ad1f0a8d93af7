"""A vision transformer classifier (Dosovitskiy et al. 2020).

The image's patches, flattened, go through a linear layer; a class token joins them,
learned positions are added; the class token's output is normalised and classified.

With `distillation`, a second token joins, with a head of its own, and the logits are the mean
of both heads', as at inference (Touvron et al. 2020, Training data-efficient image
transformers & distillation through attention, section 4). With another `pool`, no token joins:
the mean of the patches is classified, or every patch is returned as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from vitprof.formulas.block import ACTIVATIONS, Block, activation_option
from vitprof.formulas.images import (
    ImageModel,
    channels_option,
    image_size_option,
    patch_size_option,
)
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.model import depth_option, dim_option, heads_option
from vitprof.formulas.op import Elementwise, Inline, Linear, Parameter, Shape
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE, Size
from vitprof.options import Rule, choice, flag, whole


@dataclass(frozen=True, kw_only=True)
class Classifier(ImageModel):
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
    activation: str = activation_option("relu")
    patch_norm: bool = flag(False, help="activation and norm after the patch embedding")
    pool: str = choice(
        "token",
        names=("token", "mean", "none"),
        help="what is classified: a class token, the mean of the patches, or nothing",
    )
    distillation: bool = flag(False, help="a second token with a head of its own")
    head: bool = flag(True, help="a linear layer that classifies")
    classes: int = whole(10, symbol="classes", help="classes to tell apart")

    def rules(self) -> Iterator[Rule]:
        yield from self.fits("dim", self.dim, "heads", self.heads)
        yield from self.sines_fit("dim", self.dim, self.heads)
        yield Rule(
            not (self.distillation and self.pool != "token"),
            lambda: (
                f"a distillation token stands beside a class token, and pool {self.pool} has "
                "none; take pool token with it"
            ),
        )
        yield Rule(
            not (self.head and self.pool == "none"),
            lambda: "pool none leaves the patches as they are, for no head; give --no-head with it",
        )
        yield from super().rules()

    @property
    def classifies(self) -> bool:
        return self.head

    @property
    def joined(self) -> int:
        """Tokens that join the patches."""
        return 0 if self.pool != "token" else 2 if self.distillation else 1

    def blocks(self, batch: Size) -> tuple[Block]:
        rows, columns = self.grid
        sizes = MixerSizes(
            batch=batch,
            tokens=self._with_tokens(Size(self.patches, "patches")).named("N"),
            dim=self.size("dim"),
            heads=self.size("heads"),
            grid=None if self.joined else (Size(rows, "rows"), Size(columns, "columns")),
            scattered="the class token lies nowhere; --pool mean does without it",
        )
        return (self.block_of(sizes),)

    def _with_tokens(self, patches: Size) -> Size:
        return patches + self.joined if self.joined else patches

    def forward(self, run: Run[T], x: T, batch: Size) -> T:
        (block,) = self.blocks(batch)
        B, N, D = block.sizes.batch, block.sizes.tokens, block.sizes.dim
        n, p, C = Size(self.patches, "patches"), self.size("patch_size"), self.size("channels")
        tokens, pixels = (B, N, D), p * p * C
        names = ("cls_token", "dist_token")[: self.joined]
        joining = [run(Parameter(name, (D,), trained=True)) for name in names]
        joined_first = self.pos_embed_token and bool(joining)
        shape = tokens if joined_first else (B, n, D)
        positions = []
        if self.located:
            rows = self._with_tokens(n) if joined_first else n
            positions.append(self.table(run, "pos_embed", rows, D))

        def located(x: T) -> T:
            for table in positions:
                x = run(Inline("positions", "add", shape), x, run.expanded(table, shape))
            return x

        def patch_embed(x: T) -> T:
            x = run(Linear("proj", (B, n), pixels, D, bias=self.patch_bias), run.copy(x))
            if not self.patch_norm:
                return x
            work = self.activation
            x = run(Elementwise("act", work, ACTIVATIONS[work], (B, n, D)), x)
            return self.normalise(run, "norm", (B, n), D, x)

        x = run.layer("patch_embed", "FlatPatchEmbed", patch_embed, x)
        if joining:
            x = run.reordered(x, B)
        if not joined_first:
            x = located(x)
        if joining:
            x = run.joined(tokens, *(run.expanded(token, (B, D)) for token in joining), x)
        if joined_first:
            x = located(x)
        for one in run.blocks("blocks", self.size("depth"), "Block", partial(block.forward, run)):
            x = one(x)
        return self._classify(run, self._pooled(run, x, tokens), B)

    def _pooled(self, run: Run[T], x: T, tokens: Shape) -> T:
        """The normalised output: of the tokens that joined, of all, or its mean."""
        B, N, D = tokens
        if self.pool == "token":
            N = Size(self.joined, "joined")
            x = run.picked(x, (B, D) if N.value == 1 else (B, N, D))
        lead = (B,) if N.value == 1 and self.pool == "token" else (B, N)
        if self.final_norm:
            x = self.normalise(run, "norm", lead, D, x)
        return run(Inline("pool", "mean", tokens, out=(B, D)), x) if self.pool == "mean" else x

    def _classify(self, run: Run[T], x: T, B: Size) -> T:
        D, classes = self.size("dim"), self.size("classes")
        if not self.head:
            return x
        if not self.distillation:
            return run(Linear("head", (B,), D, classes), x)
        cls, dist = run.parts(x, (B, D), (B, D))
        cls = run(Linear("head", (B,), D, classes), cls)
        dist = run(Linear("head_dist", (B,), D, classes), dist)
        both = run(Inline("both_heads", "add", (B, classes)), cls, dist)
        return run(Inline("mean_of_heads", "scale", (B, classes)), both)

    def _output(self, batch: Size) -> Shape:
        """Shape of what the model returns."""
        D = self.size("dim")
        if self.head:
            return (batch, self.size("classes"))
        if self.pool == "none":
            return (batch, Size(self.patches, "patches"), D)
        return (batch, Size(self.joined), D) if self.distillation else (batch, D)

    def loss(self, run: Run[T], y: T, batch: Size) -> T:
        if self.head:
            return run(Inline("loss", "cross entropy", self._output(batch)), y)
        return run(Inline("loss", "mean", self._output(batch), out=(ONE,)), y)
