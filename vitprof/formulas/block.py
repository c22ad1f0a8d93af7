"""One encoder block: token mixer and MLP, with norms and residuals.

Its arrangement is one of

pre        X = X + Mixer(norm(X))             (Dosovitskiy et al. 2020, eqs. 2 and 3)
           X = X + MLP(norm(X))
post       X = norm(X + Mixer(X))             (Vaswani et al. 2017, section 3.1)
           X = norm(X + MLP(X))
parallel   X = X + Mixer(norm(X)) + MLP(norm(X)), one norm for both
                                              (Dehghani et al. 2023, ViT-22B, section 2.1)
single     X = X + MLP(norm(Mixer(norm(X))))  (Rao et al. 2021, GFNet)
conv       X = X + norm(act(Mixer(X)))        (Trockman and Kolter 2022, ConvMixer)
           X = norm(MLP(X))

With `layer_scale`, each branch is multiplied by a learned gain a channel before it is added
(Touvron et al. 2021, Going Deeper with Image Transformers, eq. 4). The MLP is one of

plain      act(X W_1 + b_1) W_2 + b_2, D -> hidden -> D
gated      (act(G) * V) W_2 + b_2, with G, V = X W_1 + b_1 of `hidden` channels each
           (Shazeer 2020, GLU Variants Improve Transformer, eq. 6, with biases)
linear     act(X W_1 + b_1), D -> D
none       there is none, nor its norm
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.op import (
    Affine,
    ChannelWise,
    Elementwise,
    Inline,
    LayerNorm,
    LayerScale,
    Linear,
    RMSNorm,
    Shape,
    TokenBatchNorm,
)
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import Size
from vitprof.options import Options, Rule, choice, divides, flag, ratio

ACTIVATIONS = {"gelu": "GELU", "relu": "ReLU", "silu": "SiLU"}  # option -> class in torch.nn
NORMS: dict[str, Callable[[str, Shape, Size], ChannelWise]] = {
    "layer": LayerNorm,
    "rms": RMSNorm,
    "affine": Affine,
    "batch": TokenBatchNorm,
}
BLOCKS = ("pre", "post", "parallel", "single", "conv")
MLPS = {"plain": "Mlp", "gated": "GatedLinearUnit", "linear": "Pointwise", "none": ""}  # -> class


def activation_option(default: str) -> Any:
    """Declare the MLP's activation."""
    return choice(default, names=tuple(ACTIVATIONS), help="activation of the MLP")


def hidden_width(dim: int, mlp_ratio: Fraction) -> int:
    """Width of an MLP, rounded down as timm does: `int(dim * mlp_ratio)`."""
    return dim * mlp_ratio.numerator // mlp_ratio.denominator


@dataclass(frozen=True, kw_only=True)
class BlockOptions(Options):
    """What the blocks of a model are made of, beside their mixer."""

    mlp_ratio: Fraction = ratio(
        "4", minimum="0.001", below="1000", help="width of the MLP over the dim"
    )
    mlp: str = choice("plain", names=tuple(MLPS), help="MLP of a block")
    activation: str = activation_option("gelu")
    block: str = choice("pre", names=BLOCKS, help="where a block has its norms and residuals")
    norm: str = choice("layer", names=tuple(NORMS), help="norms of the blocks and before the head")
    layer_scale: bool = flag(False, help="a learned gain a channel on each residual branch")

    def normalise(self, run: Run[T], name: str, lead: Shape, dim: Size, x: T) -> T:
        """Run the norm of this kind on (lead, dim)."""
        return run(NORMS[self.norm](name, lead, dim), x)

    def fits(self, dim_name: str, dim: int, heads_name: str, heads: int) -> Iterator[Rule]:
        """Yield that the heads share out the channels, and that the MLP has any."""
        yield divides(dim_name, dim, heads_name, heads)
        if self.mlp in ("plain", "gated"):
            yield Rule(
                hidden_width(dim, self.mlp_ratio) >= 1,
                lambda: (
                    f"mlp ratio {float(self.mlp_ratio)} leaves the MLP no channel of {dim}; "
                    f"give a ratio of at least 1/{dim}"
                ),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block at the given sizes.

    Attributes:
        sizes: B, N, D and heads.
        mixer: its token mixer.
        options: what else it is made of.
    """

    sizes: MixerSizes
    mixer: Mixer
    options: BlockOptions

    @property
    def hidden(self) -> int:
        """Width of the MLP."""
        return hidden_width(self.sizes.dim.value, self.options.mlp_ratio)

    def forward(self, run: Run[T], x: T) -> T:
        """Run the block's ops on (B, N, D)."""
        return run.block(partial(self._forward, run), x)

    def _forward(self, run: Run[T], x: T) -> T:
        arrange = {
            "pre": self._pre,
            "post": self._post,
            "parallel": self._parallel,
            "single": self._single,
            "conv": self._conv,
        }
        return arrange[self.options.block](run, x)

    def _pre(self, run: Run[T], x: T) -> T:
        x = self._add(run, 1, x, self._mixer(run, self._norm(run, 1, x)))
        if self.options.mlp == "none":
            return x
        return self._add(run, 2, x, self._mlp(run, self._norm(run, 2, x)))

    def _post(self, run: Run[T], x: T) -> T:
        x = self._norm(run, 1, self._add(run, 1, x, self._mixer(run, x)))
        if self.options.mlp == "none":
            return x
        return self._norm(run, 2, self._add(run, 2, x, self._mlp(run, x)))

    def _parallel(self, run: Run[T], x: T) -> T:
        normalised = self._norm(run, 1, x)
        x = self._add(run, 1, x, self._mixer(run, normalised))
        if self.options.mlp == "none":
            return x
        return self._add(run, 2, x, self._mlp(run, normalised))

    def _single(self, run: Run[T], x: T) -> T:
        y = self._mixer(run, self._norm(run, 1, x))
        if self.options.mlp != "none":
            y = self._mlp(run, self._norm(run, 2, y))
        return self._add(run, 1, x, y)

    def _conv(self, run: Run[T], x: T) -> T:
        y = self._norm(run, 1, self._act(run, self.sizes.dim, self._mixer(run, x)))
        x = self._add(run, 1, x, y)
        del y
        return x if self.options.mlp == "none" else self._norm(run, 2, self._mlp(run, x))

    def _norm(self, run: Run[T], place: int, x: T) -> T:
        lead = (self.sizes.batch, self.sizes.tokens)
        return self.options.normalise(run, f"norm{place}", lead, self.sizes.dim, x)

    def _add(self, run: Run[T], place: int, x: T, branch: T) -> T:
        """The residual, with the branch in its scale."""
        B, N, D = self.sizes.batch, self.sizes.tokens, self.sizes.dim
        if self.options.layer_scale:
            branch = run(LayerScale(f"ls{place}", (B, N), D), branch)
        return run(Inline(f"residual{place}", "add", (B, N, D)), x, branch)

    def _mixer(self, run: Run[T], x: T) -> T:
        def mixer(x: T) -> T:
            return self.mixer.forward(run, x, self.sizes)

        return run.layer("mixer", self.mixer.type(), mixer, x)

    def _mlp(self, run: Run[T], x: T) -> T:
        return run.layer("mlp", MLPS[self.options.mlp], partial(self._mlp_alone, run), x)

    def _act(self, run: Run[T], width: Size, x: T) -> T:
        work, lead = self.options.activation, (self.sizes.batch, self.sizes.tokens)
        return run(Elementwise("act", work, ACTIVATIONS[work], (*lead, width)), x)

    def _mlp_alone(self, run: Run[T], x: T) -> T:
        B, N, D, H = (
            self.sizes.batch,
            self.sizes.tokens,
            self.sizes.dim,
            Size(self.hidden, "hidden"),
        )
        if self.options.mlp == "linear":
            return self._act(run, D, run(Linear("fc1", (B, N), D, D), x))
        if self.options.mlp == "plain":
            hidden = self._act(run, H, run(Linear("fc1", (B, N), D, H), x))
            return run(Linear("fc2", (B, N), H, D), hidden)
        half = (B, N, H)
        gate, value = run.parts(run(Linear("fc1", (B, N), D, 2 * H), x), half, half)
        gated = run(Inline("gate", "multiply", half), self._act(run, H, gate), value)
        del gate, value
        return run(Linear("fc2", (B, N), H, D), gated)
