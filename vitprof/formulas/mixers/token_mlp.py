"""An MLP across tokens (Tolstikhin et al. 2021, MLP-Mixer, eq. 1).

U = gelu(W_1 X + b_1)            D_S x D, W_1 of D_S x N
Y = W_2 U + b_2                  N x D, W_2 of N x D_S

Every channel goes through the same two layers, so their weights depend on N. The width D_S
is half the dim in the paper's S, B and L (its table 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import whole
from vitprof.values.size import Size


@dataclass(frozen=True, kw_only=True)
class TokenMlp(Mixer):
    """Two linear layers across tokens, with a GELU between."""

    name = "token-mlp"
    aliases = ("mlp-mixer",)
    summary = "MLP across tokens, the same for every channel, as in MLP-Mixer"
    source = "Tolstikhin et al. 2021, MLP-Mixer, eq. 1"
    module = "vitprof.modules.mixers.token_mlp:TokenMlp"

    token_hidden: int = whole(
        0,
        symbol="D_S",
        minimum=0,
        help="token-mlp: hidden width across tokens; 0 for half the dim",
        grows=1_024,
        convex=True,
    )

    def hidden(self, sizes: MixerSizes) -> Size:
        """Return D_S; half the dim is rounded up, so that it is never zero."""
        given = self.size("token_hidden")
        half = isinstance(given.value, int) and given.value == 0  # not for an array or a symbol
        return ((sizes.dim + 1) // 2).named(given.name) if half else given

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        h = run.linear("fc1", x.transpose(1, 2).contiguous(), self.hidden(sizes))
        h = run.activation("act", "gelu", h)
        return run.linear("fc2", h, sizes.tokens).transpose(1, 2)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {
            **super().arguments(sizes),
            "tokens": sizes.tokens.value,
            "token_hidden": self.hidden(sizes).value,
        }
