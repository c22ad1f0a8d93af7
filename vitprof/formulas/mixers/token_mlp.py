"""An MLP across tokens (Tolstikhin et al. 2021, MLP-Mixer, eq. 1).

U = gelu(W_1 X + b_1)            D_S x D, W_1 of D_S x N
Y = W_2 U + b_2                  N x D, W_2 of N x D_S

Every channel goes through the same two layers, which are as wide as the image has
tokens. The width D_S is half the dim in the paper's S, B and L (its table 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.op import Elementwise, Linear
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import Size
from vitprof.options import whole


@dataclass(frozen=True, kw_only=True)
class TokenMlp(Mixer):
    """Two linear layers along the tokens, with a GELU between."""

    name = "token-mlp"
    aliases = ("mlp-mixer",)
    summary = "MLP across tokens, the same for every channel, as MLP-Mixer has it"
    source = "Tolstikhin et al. 2021, MLP-Mixer, eq. 1"
    module = "vitprof.modules.mixers.token_mlp:TokenMlp"

    token_hidden: int = whole(
        0, symbol="D_S", minimum=0, help="token-mlp: width across tokens; 0 is half the dim"
    )

    def hidden(self, sizes: MixerSizes) -> Size:
        """D_S; half the dim is rounded up, so that a dim of 1 has a half."""
        given = self.size("token_hidden")
        half = isinstance(given.value, int) and given.value == 0  # else an array, a symbol
        return ((sizes.dim + 1) // 2).named(given.name) if half else given

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, D_S = sizes.batch, sizes.tokens, sizes.dim, self.hidden(sizes)
        act = Elementwise("act", "gelu", "GELU", (B, D, D_S))
        h = run(act, run(Linear("fc1", (B, D), N, D_S), run.copy(x, N, D)))
        y = run(Linear("fc2", (B, D), D_S, N), h)
        return run.reordered(y, B, N, D)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {
            **super().arguments(sizes),
            "tokens": sizes.tokens.value,
            "token_hidden": self.hidden(sizes).value,
        }
