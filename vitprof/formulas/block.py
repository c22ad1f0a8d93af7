"""One pre-norm encoder block (Dosovitskiy et al. 2020, eqs. 2 and 3).

X = X + Mixer(LN(X))
X = X + MLP(LN(X))               D -> hidden -> D, an activation between
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.model import ACTIVATIONS
from vitprof.formulas.op import Elementwise, Inline, LayerNorm, Linear
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block at the given sizes.

    Attributes:
        sizes: B, N, D and heads.
        mixer: its token mixer.
        hidden: width of its MLP.
        activation: of its MLP.
    """

    sizes: MixerSizes
    mixer: Mixer
    hidden: int
    activation: str

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
