"""Gated linear attention (Yang et al. 2023, eqs. 3 to 6, and section 4.4).

Q, K, V, G = X W_Q, X W_K, X W_V, X W_G    N x D/2, N x D/2, N x D, N x D
A = sigmoid(-X W_1 W_2 - b)^(1 / 16)       N x D/2, W_1 of rank 16
C[n] = A[1] * ... * A[n]                   N x D/2, element by element
P = (Q * C / sqrt(d)) (K / C)^T * L        N x N for each of h heads, d = D / 2h
Y = (swish(G) * RMSNorm(P V)) W_O          N x D, the norm of a head's D / h

L is the lower triangle. This parallel form equals the paper's recurrence, S_n = diag(A[n]) S_(n-1)
+ K_n^T V_n and Q_n S_n, exactly, if it is `causal`. By default a second P, from the last token on
with gates of its own and the upper triangle, is added to it (Liao et al. 2024, ViG). C is the
exponential of a sum in fp32, which must not fall below -87: at the initial gates, sigmoids of 1/2,
that allows 2,000 tokens. The sign within the sigmoid, a matter of the trained weights, is the other
one in the paper.

Parameters are those of `GatedLinearAttention` of sustcsonglin/flash-linear-attention, and in both
directions the gates those of hustvl/ViG. Their kernels keep no N x N matrix: from chunk to chunk
they recompute a state of d x D / h for each head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import causal_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import whole
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class GatedLinearAttention(Mixer):
    """Linear attention whose state decays by a gate for each token and channel."""

    name = "gla"
    summary = "gated linear attention: keys fade by gates that depend on the tokens"
    source = "Yang et al. 2023, Gated Linear Attention Transformers, eqs. 3 to 6"
    module = "vitprof.modules.mixers.gated_linear_attention:GatedLinearAttention"
    halves_heads = True

    gate_rank: int = whole(
        16,
        symbol="rank",
        maximum=10_000,
        help="gla: rank of the layer that computes the gates",
        grows=1_024,
        convex=True,
    )
    causal: bool = causal_option()

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, v = x.shape, sizes.heads, sizes.head_dim
        d, half = (v // 2).named("d"), (D // 2).named("D/2")
        lower = run.buffer("lower", N, N)
        q = run.linear("q", x, half, bias=False).reshape(B, N, h, d).transpose(1, 2)
        q = run.scale("scale", q)
        k = run.linear("k", x, half, bias=False).reshape(B, N, h, d).transpose(1, 2)
        p = self._weights(run, q, k, self._log_gates(run, x, half), lower)
        values = run.linear("v", x, D, bias=False).reshape(B, N, h, v).transpose(1, 2)
        y = run.rms_norm("norm", run.matmul("output", p.to("float"), values))
        y = y.transpose(1, 2).reshape(B, N, D)
        gate = run.activation("act", "silu", run.linear("gate", x, D, bias=False))
        return run.linear("fc_out", run.multiply("gating", gate, y), D, bias=False)

    def _log_gates(self, run: Run, x: Tensor, half: Size) -> Tensor:
        """Return the logarithms of the gates of each direction: (B, N, directions D/2)."""
        low = run.linear("gate_down", x, self.size("gate_rank"), bias=False)
        width = half if self.causal else Size(2) * half
        logs = run.activation("gate_act", "softplus", run.linear("gate_up", low, width).exact())
        return run.scale("log_gates", logs)

    def _weights(self, run: Run, q: Tensor, k: Tensor, logs: Tensor, lower: Tensor) -> Tensor:
        """Return P of (B, h, N, d) queries and keys."""
        B, h, N, d = q.shape
        directions = ONE if self.causal else Size(2)
        each = logs.reshape(B, N, directions, h, d).permute(2, 0, 3, 1, 4).unbind(0)
        c = run.exp("gates", run.cumsum("log_sums", each[0], 2))
        p = run.matmul("scores", run.multiply("q_gated", q, c), run.divide("k_gated", k, c).mT)
        p = run.multiply("masked", p, lower)
        if self.causal:
            return p
        sums = run.cumsum("log_sums_back", each[1], 2)
        c = run.exp("gates_back", run.subtract("log_sums_before", sums, each[1]))
        k = run.multiply("k_gated_back", k, c)
        back = run.matmul("scores_back", run.divide("q_gated_back", q, c), k.mT)
        return run.add("both", p, run.multiply("masked_back", back, lower.mT))

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {**super().arguments(sizes), "tokens": sizes.tokens.value}
