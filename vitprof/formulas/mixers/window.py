"""Attention within windows (Liu et al. 2021, Swin Transformer, section 3.2, eq. 4).

The rows and columns of a grid are cut into windows of w x w tokens; in each of them:

Q, K, V = X W_qkv + b                w^2 x 3D
A = softmax(Q K^T / sqrt(d) + P)     w^2 x w^2 for each of h heads, d = D / h
Y = (A V) W_out + b                  w^2 x D

P[i, j] is learned: one number for each head and each of the (2w - 1)^2 offsets of two tokens
of a window. Swin shifts the windows by half a side in every other block, so that windows
exchange information; here the blocks are equal, and no window is shifted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, divides, whole


@dataclass(frozen=True, kw_only=True)
class WindowAttention(Mixer):
    """Softmax attention within windows that do not overlap."""

    name = "window"
    aliases = ("swin",)
    summary = "windowed attention: every token attends to the tokens of its window"
    source = "Liu et al. 2021, Swin Transformer, section 3.2, eq. 4"
    module = "vitprof.modules.mixers.window:WindowAttention"
    on_grid = True

    window: int = whole(7, symbol="w", maximum=10_000, help="window: side of a window in tokens")
    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    def admits(self, sizes: MixerSizes) -> Iterator[Constraint]:
        yield from super().admits(sizes)
        assert sizes.grid is not None
        for name, side in zip(("grid_rows", "grid_columns"), sizes.grid, strict=True):
            yield divides(name, side.value, "window", self.window)

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        assert sizes.grid is not None
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        w = self.size("window")
        rows, columns = (side // w for side in sizes.grid)
        m, n = w * w, (N // (w * w)).named("windows")
        x = x.reshape(B, rows, w, columns, w, D).transpose(2, 3).reshape(B, N, D)
        qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).reshape(B, n, m, 3, h, d)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        q = run.scale("scale", q)
        table = run.parameter("relative_bias", (2 * w - 1) * (2 * w - 1), h)
        bias = table.index(run.buffer("relative_index", m, m, dtype="int64")).permute(2, 0, 1)
        a = run.add("positions", run.matmul("scores", q, k.mT), bias)
        a = run.softmax("weights", a, -1)
        y = run.matmul("output", a, v)
        out = run.linear("fc_out", y.transpose(2, 3).reshape(B, N, D), D, bias=self.proj_bias)
        return out.reshape(B, rows, columns, w, w, D).transpose(2, 3).reshape(B, N, D)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        assert sizes.grid is not None
        return {**super().arguments(sizes), "grid": tuple(side.value for side in sizes.grid)}
