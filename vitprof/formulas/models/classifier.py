"""A vision transformer classifier (Dosovitskiy et al. 2020).

The stem makes a token of each patch, by default by a linear layer on its pixels; prefix tokens are
put before them and positions are added; what the pooling returns is classified. With
`final_norm_tokens` `all`, every token is normalised before that, as in timm, Hugging Face and
mmpretrain.

With `distillation`, there is a second token with a second head, and the logits are the mean
of both heads, as at inference (Touvron et al. 2020, Training data-efficient image
transformers & distillation through attention, section 4). There is a class token with pool
`token` and `both`, and otherwise with `class_token`; with pool `class`, it is put before the tokens
after the blocks. With pool `none`, all patches are returned, and a `neck` maps them to other
channels. `first_norm` is a norm before the first block (Radford et al. 2021, CLIP, section 2.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vitprof.formulas.images import (
    ImageModel,
    channels_option,
    image_size_option,
    patch_size_option,
    pos_embed_option,
)
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.model import depth_option, dim_option, heads_option
from vitprof.formulas.parts.class_attention import ClassLayer
from vitprof.formulas.parts.heads import HeadOptions, Pooled
from vitprof.formulas.parts.mlps import activation_option
from vitprof.formulas.parts.neck import NeckOptions
from vitprof.formulas.parts.positions import add_fourier_positions
from vitprof.formulas.parts.prefix import PrefixOptions, left_out, put_before
from vitprof.formulas.parts.stems import Patches, StemOptions
from vitprof.formulas.run import Run
from vitprof.formulas.stage import Stage
from vitprof.formulas.tensor import Tensor
from vitprof.values.derived import derived
from vitprof.values.options import Constraint, choice, divides, flag, needing
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class Classifier(HeadOptions, NeckOptions, PrefixOptions, StemOptions, ImageModel):
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
    activation: str = activation_option("relu", {"patch_norm": (True,)}, {"stem": ("conv",)})
    pos_embed: str = pos_embed_option("learned", "fourier")
    class_token: bool = needing(
        flag(False, help="a class token that the pooling does not read, as in BEiT and DINOv3"),
        {"pool": ("mean", "map", "none")},
    )
    first_norm: bool = flag(False, help="a norm before the first block, as in CLIP")
    final_norm_tokens: str = needing(
        choice(
            "token",
            names=("all", "token", "pooled"),
            help="tokens that the final norm reads: all of them; with pool token or class only the "
            "class token, else all; or what the pooling returns",
        ),
        {"pool": ("token", "both", "mean", "map", "class"), "final_norm": (True,)},
    )

    def constraints(self) -> Iterator[Constraint]:
        yield from self.fits("dim", self.dim, "heads", self.heads, self.mlp_hidden)
        yield from self.sines_fit("dim", self.dim, self.heads)
        sides = [side.value for side in self.patch]
        yield from self.stem_fits(sides, self.dim, self.heads)
        yield Constraint(
            not (self.is_video and self.pos_embed == "fourier"),
            lambda: (
                "pos embed fourier is of rows and columns, and a video has frames too; give pos "
                "embed learned, fixed or none"
            ),
        )
        yield Constraint(
            not (self.is_video and self.has_neck),
            lambda: (
                f"neck {self.neck} is a convolution of rows and columns, and a video has frames "
                "too; give neck 0"
            ),
        )
        yield from super().constraints()

    def cut_fits(self) -> Iterator[Constraint]:
        if not self.is_strided:
            yield from super().cut_fits()
            return
        names = ("image size", "image width"), ("patch size", "patch width")
        for image, patch, name, part in zip(
            *((self.image_size, self.width), self.patch[-2:], *names), strict=True
        ):
            yield _fits(name, image, part, patch.value)
        yield divides("frames", self.frames, "tubelet", self.tubelet)

    @derived
    def strides(self) -> tuple[int, ...]:
        """Frames and pixels from one patch to the next, along each axis."""
        *first, height, width = [side.value for side in self.patch]
        rows = self.patch_stride or height
        return (*first, rows, self.patch_stride_width or self.patch_stride or width)

    @derived
    def grid(self) -> tuple[int, ...]:
        if not self.is_strided:
            return super().grid
        along = zip(self.pixels_along, self.patch, self.strides, strict=True)
        return tuple([(whole - side.value) // stride + 1 for whole, side, stride in along])

    @property
    def classifies(self) -> bool:
        return self.head

    @property
    def class_tokens(self) -> int:
        """Number of class and distillation tokens in the blocks."""
        return self.pooled_tokens or int(self.class_token and self.pool != "class")

    @property
    def prefix_tokens(self) -> int:
        """Number of tokens before the patches: class token, distillation token, registers."""
        return self.class_tokens + self.registers

    @derived
    def stages(self) -> tuple[Stage]:
        there = {
            ("class token", "--pool mean" if self.pooled_tokens else "--no-class-token"): (
                self.class_tokens > 0
            ),
            ("distillation token", "--no-distillation"): self.distillation,
            ("registers", "--registers 0"): self.registers > 0,
        }
        tokens = [token for token, is_there in there.items() if is_there]
        without_prefix = left_out(tokens)
        first = tokens[0][0] if tokens else ""
        has = "have" if first == "registers" else "has"
        sizes = MixerSizes(
            tokens=self._behind(Size(self.patches, "patches"), self.prefix_tokens).named("N"),
            dim=self.size("dim"),
            heads=self.size("heads"),
            grid=None if self.prefix_tokens else self.sides,
            patches=self.sides,
            prefix=self.prefix_tokens,
            scattered=self.off_grid or f"the {first} {has} no place on a grid; {without_prefix}",
            without_prefix=without_prefix,
        )
        depth, hidden = self.size("depth"), self.mlp_hidden
        return (self.stage("blocks", depth, sizes, mlp_hidden=hidden),)

    def _behind(self, patches: Size, prefix: int) -> Size:
        return patches + prefix if prefix else patches

    def forward(self, run: Run, x: Tensor) -> Tensor:
        D, n = self.size("dim"), Size(self.patches, "patches")
        (stage,) = self.stages
        N = stage.sizes.tokens
        names = ("cls_token", "dist_token")[: self.class_tokens]
        tokens = [run.parameter(name, ONE, ONE, D) for name in names]
        last = [run.parameter("cls_token", ONE, ONE, D)] if self.pool == "class" else []
        registers = self.register_tokens(run, D)
        tokens_have_positions = self.pos_embed_token and self.class_tokens > 0
        rows = self._behind(n, self.class_tokens) if tokens_have_positions else n
        tables = [self.table(run, "pos_embed", rows, D)] if self.has_table else []
        x = self.run_stem(run, x, Patches(self.patch, self.axes, n, D, self.patchify))
        if self.pos_embed == "fourier":
            assert self.sides is not None
            x = add_fourier_positions(run, self.sides, x)
        if tables and tokens_have_positions:
            x = put_before(run, x, tokens, rows if registers else N)
            x = run.add("positions", x, *tables)
            x = put_before(run, x, registers, N, behind=self.class_tokens)
        else:
            if tables:
                x = run.add("positions", x, *tables)
            x = put_before(run, x, [*tokens, *registers], N)
        if self.first_norm:
            x = self.normalise(run, "norm_pre", x)
        for block in stage.blocks(run, stage.shared(run)):
            x = block(x)
        if last:
            x = put_before(run, x, last, x.shape[1] + 1)
            for layer in self.class_blocks(run, self._class_layer):
                x = layer(x)
        return self.run_head(run, self._after_neck(run, self._pool(run, x)))

    def _after_neck(self, run: Run, x: Tensor) -> Tensor:
        if not self.has_neck:
            return x
        assert self.sides is not None
        return self.run_neck(run, self.sides, x)

    @property
    def has_neck(self) -> bool:
        """True if the patches that are returned go through a neck."""
        return self.neck > 0 and self.pool == "none"

    @property
    def _hidden(self) -> Size:
        """Hidden width of the MLPs of attention pooling and of class attention."""
        return Size(self.hidden_width(self.dim, self.mlp_hidden), "hidden")

    @property
    def _class_layer(self) -> ClassLayer:
        return ClassLayer(heads=self.size("heads"), hidden=self._hidden, scaled=self.layer_scale)

    def _pool(self, run: Run, x: Tensor) -> Tensor:
        """Return the normalised output: of the prefix tokens, of all patches, or pooled."""
        sizes = Pooled(
            patches=Size(self.patches, "patches"),
            prefix=self.prefix_tokens,
            heads=self.size("heads"),
            hidden=self._hidden,
        )
        if self.final_norm and not self.norm_is_last:
            x = self.normalise(run, "norm", x)
        x = self.run_pool(run, x, sizes)
        return self.normalise(run, "norm", x) if self.final_norm and self.norm_is_last else x

    @property
    def norm_is_last(self) -> bool:
        """True if the final norm reads what the pooling returns."""
        return self.final_norm_tokens == "pooled" or (
            self.final_norm_tokens == "token" and self.pool in ("token", "class")
        )

    def loss(self, run: Run, y: Tensor) -> Tensor:
        return run.cross_entropy("loss", y) if self.head else run.mean_of_all("loss", y)


def _fits(name: str, image: int, part: str, patch: int) -> Constraint:
    """Return the rule that a patch is not larger than the image."""
    return Constraint(
        image >= patch,
        lambda: (
            f"{part} {patch} is larger than {name} {image}, so that there is no patch; give at "
            f"most {image}"
        ),
    )
