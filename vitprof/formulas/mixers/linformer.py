"""Linformer (Wang et al. 2020, Self-Attention with Linear Complexity, eq. 7).

Q, K, V = X W_qkv + b            N x 3D
K, V = E^T K, F^T V              p x D: E and F are N x p, the same for all heads
A = softmax(Q K^T / sqrt(d))     N x p for each of h heads, d = D / h
Y = (A V) W_out + b              N x D

One E and one F for all heads is the paper's headwise sharing; E = F, with `shared`, is its
key-value sharing. The paper calls p k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import flag, whole


@dataclass(frozen=True, kw_only=True)
class Linformer(Mixer):
    """Softmax attention to a few linear combinations of the tokens."""

    name = "linformer"
    summary = "softmax attention to a few learned mixtures of the tokens"
    source = "Wang et al. 2020, Linformer: Self-Attention with Linear Complexity, eq. 7"
    module = "vitprof.modules.mixers.linformer:Linformer"

    projection: int = whole(
        64,
        symbol="p",
        help="linformer: number of keys and values after the projection",
        grows=1_024,
        convex=True,
    )
    shared: bool = flag(False, help="linformer: one projection for keys and values")
    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        return {**super().arguments(sizes), "tokens": sizes.tokens.value}

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        p = self.size("projection")
        qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias)
        if self.shared:
            q, kv = qkv.split((D, 2 * D), -1)
            kv = run.linear("project", kv.transpose(1, 2).contiguous(), p, bias=False)
            k, v = kv.split((D, D), 1)
        else:
            q, k, v = qkv.split((D, D, D), -1)
            k = run.linear("project_k", k.transpose(1, 2).contiguous(), p, bias=False)
            v = run.linear("project_v", v.transpose(1, 2).contiguous(), p, bias=False)
        q = run.scale("scale", q.unflatten(2, (h, d)).transpose(1, 2))
        a = run.softmax("weights", run.matmul("scores", q, k.unflatten(1, (h, d))), -1)
        y = run.matmul("output", a, v.unflatten(1, (h, d)).mT)
        return run.linear("fc_out", y.transpose(1, 2).reshape(B, N, D), D, bias=self.proj_bias)
