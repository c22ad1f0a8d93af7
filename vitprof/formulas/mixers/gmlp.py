"""The gated MLP of gMLP (Liu et al. 2021, Pay Attention to MLPs, section 2).

U, V = gelu(X W_1 + b_1)         N x G, in two halves of G / 2 channels
V = W_s LN(V) + b_s              N x G / 2, W_s of N x N
Y = (U * V) W_2 + b_2            N x D, the product element by element

W_s is initialised near zero and b_s with 1, so that U passes unchanged. In the paper this is
the whole block: gMLP has no MLP after it. G is 6 D in all models of its table 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, plain, ratio
from vitprof.values.ratios import rounded_down
from vitprof.values.size import Size


@dataclass(frozen=True, kw_only=True)
class GatedMlp(Mixer):
    """An MLP on each token, half of it gated by a linear layer across tokens."""

    name = "gmlp"
    summary = "gated MLP: half of the channels, mixed across tokens, gates the other half"
    source = "Liu et al. 2021, Pay Attention to MLPs, section 2"
    module = "vitprof.modules.mixers.gmlp:GatedMlp"

    gate_ratio: Fraction | float = ratio(
        "6", minimum="0.001", below="1000", help="gmlp: width of both halves divided by dim"
    )

    def hidden(self, sizes: MixerSizes) -> int:
        """Return G: dim × gate ratio, rounded down as the width of the MLP is."""
        return rounded_down(sizes.dim.value, self.gate_ratio)

    def admits(self, sizes: MixerSizes) -> Iterator[Constraint]:
        yield from super().admits(sizes)
        hidden, dim = self.hidden(sizes), sizes.dim.value
        yield Constraint(
            (hidden % 2 == 0) & (hidden > 0),
            lambda: (
                f"gate ratio {plain(self.gate_ratio)} gives dim {dim} a width of {hidden}, "
                f"which gmlp cannot halve; an even ratio, such as {self._even()}, gives an even "
                "width"
            ),
        )

    def _even(self) -> int:
        return max(2, int(self.gate_ratio) // 2 * 2)

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (_, N, D), G = x.shape, Size(self.hidden(sizes), "G")
        half = (G // 2).named("G/2")
        u, v = run.activation("act", "gelu", run.linear("fc1", x, G)).split((half, half), -1)
        gate = run.linear("spatial", run.layer_norm("norm", v).transpose(1, 2).contiguous(), N)
        return run.linear("fc2", run.multiply("gating", u, gate.transpose(1, 2)), D)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {
            "dim": sizes.dim.value,
            "tokens": sizes.tokens.value,
            "hidden": self.hidden(sizes),
        }
