"""Linformer (Wang et al. 2020, Self-Attention with Linear Complexity, eq. 7).

Q, K, V = X W_qkv + b            N x 3D
K, V = E^T K, F^T V              p x D: E and F are N x p, the same for all heads
A = softmax(Q K^T / sqrt(d))     N x p for each of h heads, d = D / h
Y = (A V) W_out + b              N x D

One E and one F for all heads is the paper's headwise sharing; shared, E = F, is its
key-value sharing. The paper calls p k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.op import Elementwise, Inline, Linear, MatMul
from vitprof.formulas.run import Run, T
from vitprof.options import flag, whole


@dataclass(frozen=True, kw_only=True)
class Linformer(Mixer):
    """Softmax attention to a few linear combinations of the tokens."""

    name = "linformer"
    summary = "softmax attention to a few learned mixtures of the tokens"
    source = "Wang et al. 2020, Linformer: Self-Attention with Linear Complexity, eq. 7"
    module = "vitprof.modules.mixers.linformer:Linformer"

    projection: int = whole(
        64, symbol="p", help="linformer: keys and values that the tokens are projected to"
    )
    shared: bool = flag(False, help="linformer: one projection for keys and values")
    qkv_bias: bool = qkv_bias_option()

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {**super().arguments(sizes), "tokens": sizes.tokens.value}

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        p = self.size("projection")

        def heads(half: T) -> T:
            return run.copy(half, B, h) if self.shared else half

        qkv = run(Linear("qkv", (B, N), D, 3 * D, bias=self.qkv_bias), x)
        if self.shared:
            q, kv = run.parts(qkv, (B, N, D), (B, N, 2 * D))
            kv = run(Linear("project", (B, 2 * D), N, p, bias=False), run.copy(kv))
            k, v = run.parts(kv, (B, D, p), (B, D, p))
        else:
            q, k, v = run.parts(qkv, *3 * [(B, N, D)])
            k = run(Linear("project_k", (B, D), N, p, bias=False), run.copy(k))
            v = run(Linear("project_v", (B, D), N, p, bias=False), run.copy(v))
        q = run(Inline("scale", "scale", (B, h, N, d)), run.reordered(q, h, N))
        a = run(
            Elementwise("weights", "softmax", "Softmax", (B, h, N, p)),
            run(MatMul("scores", (B, h), N, d, p), run.copy(q, B, h, N), heads(k)),
        )
        y = run(MatMul("output", (B, h), N, p, d), a, heads(v))
        y = run.reordered(y, B, h, N)
        return run(Linear("fc_out", (B, N), D, D), run.copy(y, h, N))
