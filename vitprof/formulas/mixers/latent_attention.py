"""Multi-head latent attention (DeepSeek-AI 2024, DeepSeek-V2, section 2.1 and appendix C).

Q = X W_Q                          N x h (d + r), for each of h heads d and r
Q = RMSNorm(X W_DQ) W_UQ           the same, with `q_rank`, through a latent of fewer channels
C, K_R = X W_DKV                   N x latent, N x r: what all heads share
K_C, V = RMSNorm(C) W_UKV          N x h d, N x h d
K = [K_C, rope(K_R)]               N x (d + r) for each head, and Q rotated likewise
A = softmax(Q K^T / sqrt(d + r))   N x N for each head
Y = (A V) W_out                    N x D

rope rotates the r channels of a token by its position. d is D / h, or `head_width`: in DeepSeek-V2,
with D = 5120 and 128 heads, 128, with a latent of 512, `q_rank` 1536 and r = 64; there attention is
causal. Parameters are those of `DeepseekV2Attention` of its code, which has no biases.

In generation C and K_R alone are cached, and W_UKV is multiplied into W_Q and W_out; a step of
training computes K and V as they stand here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.parts.rotary import angles, rotate
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, whole
from vitprof.values.size import Size


@dataclass(frozen=True, kw_only=True)
class LatentAttention(Mixer):
    """Softmax attention with keys and values from a latent of few channels."""

    name = "mla"
    aliases = ("latent",)
    summary = "latent attention: keys and values of all heads from a latent of few channels"
    source = "DeepSeek-AI 2024, DeepSeek-V2, section 2.1 and appendix C"
    module = "vitprof.modules.mixers.latent_attention:LatentAttention"

    latent: int = whole(
        64,
        symbol="latent",
        maximum=100_000,
        help="mla: channels of the latent of keys and values",
        grows=1_024,
        convex=True,
    )
    q_rank: int = whole(
        0, minimum=0, maximum=100_000, help="mla: channels of a latent of queries; 0 for none"
    )
    rope_dim: int = whole(
        8, maximum=10_000, help="mla: channels of a query and a key that are rotated by position"
    )
    head_width: int = whole(
        0,
        minimum=0,
        maximum=10_000,
        help="mla: channels of a head's values, and of its keys beside the rotated ones; 0 for "
        "dim / heads",
    )

    def constraints(self) -> Iterator[Constraint]:
        yield from super().constraints()
        yield Constraint(
            self.rope_dim % 2 == 0,
            lambda: (
                f"rope dim {self.rope_dim} is odd, and channels are rotated in pairs; give "
                "an even number"
            ),
        )

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h = x.shape, sizes.heads
        d = Size(self.head_width, "d") if self.head_width else sizes.head_dim
        c, r = self.size("latent"), Size(self.rope_dim, "rope dim")
        cos, sin = angles(run, N, (r // 2).named("r/2"))
        q = self._queries(run, x, h * (d + r)).reshape(B, N, h, d + r).transpose(1, 2)
        q = self._turned(run, q, cos, sin, d)
        latent, k = run.linear("kv_down", x, c + r, bias=False).split((c, r), -1)
        kv = run.linear("kv_up", run.rms_norm("kv_norm", latent), h * (d + d), bias=False)
        k_nope, v = kv.reshape(B, N, h, d + d).transpose(1, 2).split((d, d), -1)
        k = rotate(run, "k", k.unsqueeze(1), cos, sin).expand(B, h, N, r)
        k = run.cat([k_nope, k], -1, d + r)
        q = run.scale("scale", q)
        a = run.softmax("weights", run.matmul("scores", q, k.mT), -1)
        y = run.matmul("output", a, v).transpose(1, 2).reshape(B, N, h * d)
        return run.linear("fc_out", y, D, bias=False)

    def _queries(self, run: Run, x: Tensor, width: Size) -> Tensor:
        if not self.q_rank:
            return run.linear("q", x, width, bias=False)
        down = run.linear("q_down", x, Size(self.q_rank, "q rank"), bias=False)
        return run.linear("q_up", run.rms_norm("q_norm", down), width, bias=False)

    def _turned(self, run: Run, q: Tensor, cos: Tensor, sin: Tensor, d: Size) -> Tensor:
        """Return queries with their last channels rotated: (B, h, N, d + r)."""
        whole = q.shape[-1]
        nope, rope = q.split((d, Size(self.rope_dim, "rope dim")), -1)
        return run.cat([nope, rotate(run, "q", rope, cos, sin)], -1, whole)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {**super().arguments(sizes), "tokens": sizes.tokens.value}
