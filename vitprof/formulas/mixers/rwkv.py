"""Spatial mix of Vision-RWKV (Duan et al. 2024, eqs. 1 to 5).

X_q = q-shift(X)                        N x D, with `q_shift`
X_r, X_k, X_v = X_q + m (X - X_q)       a learned m of D for each of the three
R, K, V = X_r W_R, X_k W_K, X_v W_V     N x D each
Z[t] = sum of e^(K[i] - (|t - i| - 1) w / N) over i != t, and e^(K[t] + u / N)
Y = (sigmoid(R) * (Z_V / Z)) W_O        Z_V: Z with V[i] and V[t] as factors

The q-shift moves a quarter of the channels by a patch to the right, the next ones to the left, down
and up, with zeros at the edges. w and u are learned, D of each. Parameters are those of
`VRWKV_SpatialMix` of OpenGVLab/Vision-RWKV.

Z is no contraction: its elements are listed. It is computed exactly, in fp32, by sums up to each
token, with E = e^(K - max) and g[i] = e^(w i / N):

Z[t] = sum of E[i] g[i] over i <= t, over g[t]
       + sum of E[i] / g[i] over i >= t, times g[t]
       + (e^((u - w) / N) - 2) E[t]

The factor e^(w / N) of all of it and the maximum of each channel of K, which takes no gradient,
cancel in the quotient. No w may exceed 80 in size; the paper's are from -5 to 3. The kernel of the
paper keeps K and V alone, computes the sums again in the backward pass, and adds 1e-6 to Z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.parts.shift import mix
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import flag
from vitprof.values.size import ONE


@dataclass(frozen=True, kw_only=True)
class ShiftedMixer(Mixer):
    """A mixer of RWKV, whose layers read sums of the tokens and of their q-shift."""

    q_shift: bool = flag(
        True, help="quarters of the channels moved by a patch before the layers, on a grid"
    )

    @property
    def needs_grid(self) -> bool:
        return self.q_shift

    @property
    def neighbourly(self) -> str:
        return f"{self.name} with q shift"

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        arguments = super().arguments(sizes)
        if self.q_shift:
            assert sizes.grid is not None
            arguments["grid"] = tuple(side.value for side in sizes.grid)
        return arguments

    def mixed(self, run: Run, x: Tensor, sizes: MixerSizes, names: Sequence[str]) -> list[Tensor]:
        """Return the inputs of layers by these names: X_q + m (X - X_q), or X without q-shift."""
        if not self.q_shift:
            return [x for _ in names]
        assert sizes.grid is not None
        return mix(run, x, sizes.grid, names)


@dataclass(frozen=True, kw_only=True)
class Rwkv(ShiftedMixer):
    """Values weighted by their keys and by the distance in tokens, in both directions."""

    name = "rwkv"
    aliases = ("vrwkv",)
    summary = "bi-WKV: values weighted by keys and distance, cost linear in tokens"
    source = "Duan et al. 2024, Vision-RWKV, eqs. 1 to 5"
    module = "vitprof.modules.mixers.rwkv:Rwkv"

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {**super().arguments(sizes), "tokens": sizes.tokens.value}

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        D = sizes.dim
        linear = partial(run.linear, outputs=D, bias=False)
        r, k, v = self.mixed(run, x, sizes, ("r", "k", "v"))
        r = run.activation("act", "sigmoid", linear("receptance", r))
        k = linear("key", k).exact()
        v = linear("value", v)
        y = self._wkv(run, k, v).to("float")
        return linear("output", run.multiply("gating", r, y))

    def _wkv(self, run: Run, k: Tensor, v: Tensor) -> Tensor:
        """Return Z_V / Z: (B, N, D)."""
        _, N, D = k.shape
        w, u = run.parameter("decay", D), run.parameter("first", D)
        growth = run.multiply("growth_exponents", run.buffer("positions", N, ONE), w)
        growth = run.exp("growth", growth)
        bonus = run.subtract("first_less_decay", u, w)
        bonus = run.exp("bonus", run.scale("bonus_exponents", bonus))
        bonus = run.add("bonus_less_two", bonus)
        highest = run.maximum("highest", k.detach(), 1)
        e = run.exp("exponentials", run.subtract("exponents", k, highest))
        above = self._sums(run, "values", run.multiply("weighted_values", e, v), growth, bonus)
        return run.divide("division", above, self._sums(run, "keys", e, growth, bonus))

    def _sums(self, run: Run, name: str, e: Tensor, growth: Tensor, bonus: Tensor) -> Tensor:
        """Return Z or Z_V of exponentials (B, N, D), but for their common factors."""
        ahead = run.cumsum(f"{name}_ahead", run.multiply(f"{name}_grown", e, growth), 1)
        ahead = run.divide(f"{name}_ahead_faded", ahead, growth)
        behind = run.divide(f"{name}_shrunk", e, growth).flip(1)
        behind = run.cumsum(f"{name}_behind", behind, 1).flip(1)
        both = run.add(f"{name}_both", ahead, run.multiply(f"{name}_faded", behind, growth))
        return run.add(f"{name}_all", both, run.multiply(f"{name}_own", e, bonus))
