"""One pre-norm encoder block (Dosovitskiy et al. 2020, eqs. 2 and 3).

X = X + Mixer(LN(X))
X = X + MLP(LN(X))               D -> hidden -> D, an activation between
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.op import Elementwise, Inline, LayerNorm, Linear
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import Size

ACTIVATIONS = {"gelu": "GELU", "relu": "ReLU"}  # option -> class in torch.nn


def hidden_width(dim: int, mlp_ratio: Fraction) -> int:
    """Width of an MLP, rounded down as timm does: `int(dim * mlp_ratio)`."""
    return dim * mlp_ratio.numerator // mlp_ratio.denominator


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block at the given sizes.

    Attributes:
        sizes: B, N, D and heads.
        mixer: its token mixer.
        mlp_ratio: how much wider the MLP is than a token.
        activation: of the MLP.
    """

    sizes: MixerSizes
    mixer: Mixer
    mlp_ratio: Fraction
    activation: str

    @property
    def hidden(self) -> int:
        """Width of the MLP."""
        return hidden_width(self.sizes.dim.value, self.mlp_ratio)

    def forward(self, run: Run[T], x: T) -> T:
        """Run the block's ops on (B, N, D)."""
        return run.block(partial(self._forward, run), x)

    def _forward(self, run: Run[T], x: T) -> T:
        B, N, D, H = (
            self.sizes.batch,
            self.sizes.tokens,
            self.sizes.dim,
            Size(self.hidden, "hidden"),
        )
        tokens = (B, N, D)

        def mixer(x: T) -> T:
            return self.mixer.forward(run, x, self.sizes)

        def mlp(x: T) -> T:
            act = Elementwise("act", self.activation, ACTIVATIONS[self.activation], (B, N, H))
            return run(Linear("fc2", (B, N), H, D), run(act, run(Linear("fc1", (B, N), D, H), x)))

        x = run(
            Inline("residual1", "add", tokens),
            x,
            run.layer("mixer", self.mixer.type(), mixer, run(LayerNorm("norm1", (B, N), D), x)),
        )
        return run(
            Inline("residual2", "add", tokens),
            x,
            run.layer("mlp", "Mlp", mlp, run(LayerNorm("norm2", (B, N), D), x)),
        )
