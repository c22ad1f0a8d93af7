"""A vision transformer classifier (Dosovitskiy et al. 2020).

The flattened patches of an image go through a linear layer; a class token is put before
them and positions are added; the class token's output is normalised and classified. With
`final_norm_tokens` `all`, every token is normalised before the class token is taken, as in
timm, Hugging Face and mmpretrain.

With `distillation`, there is a second token with a second head, and the logits are the mean
of both heads, as at inference (Touvron et al. 2020, Training data-efficient image
transformers & distillation through attention, section 4). With another `pool`, there are no
prefix tokens: the mean of the patches is classified, or all patches are returned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from vitprof.formulas.images import (
    ImageModel,
    channels_option,
    image_size_option,
    patch_size_option,
)
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.model import depth_option, dim_option, heads_option
from vitprof.formulas.parts.activations import activate
from vitprof.formulas.parts.mlps import activation_option
from vitprof.formulas.run import Run
from vitprof.formulas.stage import Stage
from vitprof.formulas.tensor import Tensor
from vitprof.values.derived import derived
from vitprof.values.options import Constraint, choice, flag, needing, whole
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class Classifier(ImageModel):
    """An image classifier; the default sizes are those of a report on Fashion-MNIST."""

    name = "classifier"
    summary = "vision transformer with a class token and a linear head"
    source = "Dosovitskiy et al. 2020, An Image Is Worth 16x16 Words, eqs. 1 to 4"
    module = "vitprof.modules.models.classifier:VisionTransformer"
    task = (*ImageModel.task, "classes")

    image_size: int = image_size_option(28)
    channels: int = channels_option(1)
    patch_size: int = patch_size_option(4)
    dim: int = dim_option(64, "a token")
    depth: int = depth_option(4, "the encoder")
    heads: int = heads_option(4, "the encoder")
    activation: str = activation_option("relu", {"patch_norm": (True,)})
    patch_norm: bool = flag(False, help="activation and norm after the patch embedding")
    pool: str = choice(
        "token",
        names=("token", "mean", "none"),
        help="input of the head: the class token, the mean of the patches, or no pooling",
    )
    final_norm_tokens: str = needing(
        choice(
            "token",
            names=("all", "token"),
            help="tokens that the final norm reads with pool token: all of them, or only the class "
            "token; with another pool it reads all",
        ),
        {"pool": ("token",), "final_norm": (True,)},
    )
    distillation: bool = flag(False, help="distillation token with a second head")
    head: bool = flag(True, help="linear layer that returns the logits")
    classes: int = needing(
        whole(10, symbol="classes", help="number of classes", grows=1_024, convex=True),
        {"head": (True,)},
    )

    def constraints(self) -> Iterator[Constraint]:
        yield from self.fits("dim", self.dim, "heads", self.heads, self.mlp_hidden)
        yield from self.sines_fit("dim", self.dim, self.heads)
        yield Constraint(
            not (self.distillation and self.pool != "token"),
            lambda: (
                f"distillation needs a class token, and pool {self.pool} has none; give pool token "
                "with it"
            ),
        )
        yield Constraint(
            not (self.head and self.pool == "none"),
            lambda: (
                "pool none returns all patches, which the head cannot classify; give --no-head "
                "with it"
            ),
        )
        yield from super().constraints()

    @property
    def classifies(self) -> bool:
        return self.head

    @property
    def prefix_tokens(self) -> int:
        """Number of tokens before the patches: class and distillation token."""
        return 0 if self.pool != "token" else 2 if self.distillation else 1

    @derived
    def stages(self) -> tuple[Stage]:
        without_prefix = (
            "--pool mean --no-distillation leaves out class and distillation token"
            if self.distillation
            else "--pool mean leaves out the class token"
        )
        sizes = MixerSizes(
            tokens=self._with_tokens(Size(self.patches, "patches")).named("N"),
            dim=self.size("dim"),
            heads=self.size("heads"),
            grid=None if self.prefix_tokens else self.sides,
            scattered=f"the class token has no place on a grid; {without_prefix}",
            without_prefix=without_prefix if self.prefix_tokens else "",
        )
        depth, hidden = self.size("depth"), self.mlp_hidden
        return (self.stage("blocks", depth, sizes, mlp_hidden=hidden),)

    def _with_tokens(self, patches: Size) -> Size:
        return patches + self.prefix_tokens if self.prefix_tokens else patches

    def forward(self, run: Run, x: Tensor) -> Tensor:
        B, D, n = x.shape[0], self.size("dim"), Size(self.patches, "patches")
        (stage,) = self.stages
        names = ("cls_token", "dist_token")[: self.prefix_tokens]
        tokens = [run.parameter(name, ONE, ONE, D) for name in names]
        prefix_first = self.pos_embed_token and self.prefix_tokens > 0
        tables = []
        if self.has_positions:
            rows = self._with_tokens(n) if prefix_first else n
            tables.append(self.table(run, "pos_embed", rows, D))
        x = run.layer("patch_embed", "FlatPatchEmbed", partial(self._patch_embed, run), x)
        if tables and not prefix_first:
            x = run.add("positions", x, *tables)
        if tokens:
            joining = [token.expand(B, ONE, D) for token in tokens]
            x = run.cat([*joining, x], 1, stage.block.sizes.tokens)
            del joining
        if tables and prefix_first:
            x = run.add("positions", x, *tables)
        for block in stage.blocks(run):
            x = block(x)
        return self._classify(run, self._pool(run, x))

    def _patch_embed(self, run: Run, x: Tensor) -> Tensor:
        x = run.linear("proj", self.patchify(x), self.size("dim"), bias=self.patch_bias)
        if not self.patch_norm:
            return x
        x = activate(run, self.activation, x)
        return self.normalise(run, "norm", x)

    def _pool(self, run: Run, x: Tensor) -> Tensor:
        """Return the normalised output: of the prefix tokens, of all patches, or their mean."""
        if self.pool == "token" and self.final_norm_tokens == "token":
            x = self._prefix(x)
        if self.final_norm:
            x = self.normalise(run, "norm", x)
        if self.pool == "token" and self.final_norm_tokens == "all":
            return self._prefix(x)
        return run.mean("pool", x, 1) if self.pool == "mean" else x

    def _prefix(self, x: Tensor) -> Tensor:
        """Take the class token, (B, D), or class and distillation token, (B, 2, D)."""
        if self.prefix_tokens == 1:
            return x[:, 0]
        return x[:, : Size(self.prefix_tokens, "prefix tokens")]

    def _classify(self, run: Run, x: Tensor) -> Tensor:
        classes = self.size("classes")
        if not self.head:
            return x
        if not self.distillation:
            return run.linear("head", x, classes)
        cls, dist = x.unbind(1)
        cls = run.linear("head", cls, classes)
        dist = run.linear("head_dist", dist, classes)
        return run.scale("mean_of_heads", run.add("both_heads", cls, dist))

    def loss(self, run: Run, y: Tensor) -> Tensor:
        return run.cross_entropy("loss", y) if self.head else run.mean_of_all("loss", y)
