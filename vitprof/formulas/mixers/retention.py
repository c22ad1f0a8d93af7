"""Multi-scale retention (Sun et al. 2023, Retentive Network, eqs. 5 and 8).

Q, K, V, G = X W_Q, X W_K, X W_V, X W_G    N x D, N x D, N x E, N x E
Q, K = Q, K rotated by their positions     D / h channels for each of h heads
R = (Q K^T / sqrt(d)) * M                  N x N, element by element; d = D / h
M[n, m] = gamma^|n - m|                    gamma = 1 - 2^(-5 - i) for head i
Y = (swish(G) * RMSNorm(R V)) W_O          N x D, the norm of a head's E / h

This is the parallel form, which equals the paper's recurrence S_n = gamma S_(n-1) + K_n^T V_n, Q_n
S_n exactly, if it is `causal`: then M[n, m] is 0 for the tokens m after n. By default the decay has
both directions (Fan et al. 2023, RMT, eq. 3), so that every token is heard.

E is `expand` times D, 2 D in the paper. Parameters and norm, which has no gain, are those of
`MultiScaleRetention` of microsoft/torchscale. Its quotients of R by sums of its rows are left out:
the norm cancels them, but for its epsilon. A recurrent kernel keeps no N x N matrix, but a state of
d x E / h for each head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import causal_option, expand_option
from vitprof.formulas.parts.rotary import angles, rotate
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import ONE


@dataclass(frozen=True, kw_only=True)
class Retention(Mixer):
    """Retention: products of queries and keys that decay with the distance, and a gate."""

    name = "retention"
    aliases = ("retnet",)
    summary = "retention: scores decay with the distance in place of the softmax, gated"
    source = "Sun et al. 2023, Retentive Network, eqs. 5 and 8"
    module = "vitprof.modules.mixers.retention:Retention"
    halves_heads = True

    expand: int = expand_option()
    causal: bool = causal_option()

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        E = (self.size("expand") * D).named("E")
        cos, sin = angles(run, N, (d // 2).named("d/2"))
        distances, rates = run.buffer("distances", N, N), run.buffer("rates", h, ONE, ONE)
        q = run.linear("q", x, D, bias=False).reshape(B, N, h, d).transpose(1, 2)
        k = run.scale("scale", run.linear("k", x, D, bias=False))
        k = k.reshape(B, N, h, d).transpose(1, 2)
        v = run.linear("v", x, E, bias=False).reshape(B, N, h, (E // h).named("E/h"))
        q = rotate(run, "q", q, cos, sin)
        k = rotate(run, "k", k, cos, sin)
        decay = run.exp("decay", run.multiply("exponents", distances, rates))
        r = run.multiply("decayed", run.matmul("scores", q, k.mT), decay)
        y = run.rms_norm("norm", run.matmul("output", r, v.transpose(1, 2)), gain=False)
        y = y.transpose(1, 2).reshape(B, N, E)
        gate = run.activation("act", "silu", run.linear("gate", x, E, bias=False))
        return run.linear("fc_out", run.multiply("gating", gate, y), D, bias=False)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {**super().arguments(sizes), "tokens": sizes.tokens.value}
