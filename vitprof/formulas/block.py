"""One pre-norm encoder block (Dosovitskiy et al. 2020, eqs. 2 and 3).

X = X + Mixer(LN(X))
X = X + MLP(LN(X))               D -> hidden -> D, an activation between
"""

from __future__ import annotations

from vitprof.formulas.layer import Layer
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.model import ACTIVATIONS
from vitprof.formulas.op import Elementwise, Inline, LayerNorm, Linear
from vitprof.formulas.size import Size


def block(
    name: str,
    sizes: MixerSizes,
    *,
    mixer: Mixer,
    hidden: int,
    activation: str,
    repeat: Size | None = None,
    type: str = "Block",
) -> Layer:
    """The ops of `repeat` equal blocks at the given sizes; `type` is the torch class."""
    B, N, D, H = sizes.batch, sizes.tokens, sizes.dim, Size(hidden, "hidden")
    return Layer(
        name,
        type,
        (
            LayerNorm("norm1", (B, N), D),
            mixer.formula(sizes),
            Inline("residual1", "add", (B, N, D)),
            LayerNorm("norm2", (B, N), D),
            Layer(
                "mlp",
                "Mlp",
                (
                    Linear("fc1", (B, N), D, H),
                    Elementwise("act", activation, ACTIVATIONS[activation], (B, N, H)),
                    Linear("fc2", (B, N), H, D),
                ),
            ),
            Inline("residual2", "add", (B, N, D)),
        ),
        repeat,
    )
