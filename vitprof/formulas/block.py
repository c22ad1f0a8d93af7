"""One pre-norm encoder block (Dosovitskiy et al. 2020, eqs. 2 and 3).

X = X + Mixer(norm(X))
X = X + MLP(norm(X))             D -> hidden -> D, an activation between

With `layer_scale`, each branch is multiplied by a learned gain a channel before it is added
(Touvron et al. 2021, Going Deeper with Image Transformers, eq. 4). The MLP is one of

plain     act(X W_1 + b_1) W_2 + b_2
gated     (act(G) * V) W_2 + b_2, with G, V = X W_1 + b_1 of `hidden` channels each
          (Shazeer 2020, GLU Variants Improve Transformer, eq. 6, with biases)
linear    act(X W_1 + b_1), D -> D
none      the second line is left out
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
    norm: str = choice("layer", names=tuple(NORMS), help="norm before mixer, MLP and head")
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
        B, N, D, options = self.sizes.batch, self.sizes.tokens, self.sizes.dim, self.options
        tokens = (B, N, D)

        def mixer(x: T) -> T:
            return self.mixer.forward(run, x, self.sizes)

        def scaled(name: str, branch: T) -> T:
            return run(LayerScale(name, (B, N), D), branch) if options.layer_scale else branch

        x = run(
            Inline("residual1", "add", tokens),
            x,
            scaled(
                "ls1",
                run.layer(
                    "mixer",
                    self.mixer.type(),
                    mixer,
                    options.normalise(run, "norm1", (B, N), D, x),
                ),
            ),
        )
        if options.mlp == "none":
            return x
        return run(
            Inline("residual2", "add", tokens),
            x,
            scaled(
                "ls2",
                run.layer(
                    "mlp",
                    MLPS[options.mlp],
                    partial(self._mlp, run),
                    options.normalise(run, "norm2", (B, N), D, x),
                ),
            ),
        )

    def _mlp(self, run: Run[T], x: T) -> T:
        B, N, D, H = (
            self.sizes.batch,
            self.sizes.tokens,
            self.sizes.dim,
            Size(self.hidden, "hidden"),
        )
        work = self.options.activation

        def act(width: Size, x: T) -> T:
            return run(Elementwise("act", work, ACTIVATIONS[work], (B, N, width)), x)

        if self.options.mlp == "linear":
            return act(D, run(Linear("fc1", (B, N), D, D), x))
        if self.options.mlp == "plain":
            return run(Linear("fc2", (B, N), H, D), act(H, run(Linear("fc1", (B, N), D, H), x)))
        half = (B, N, H)
        gate, value = run.parts(run(Linear("fc1", (B, N), D, 2 * H), x), half, half)
        gated = run(Inline("gate", "multiply", half), act(H, gate), value)
        del gate, value
        return run(Linear("fc2", (B, N), H, D), gated)
