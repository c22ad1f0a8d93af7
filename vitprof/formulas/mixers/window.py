"""Attention within windows (Liu et al. 2021, Swin Transformer, section 3.2, eq. 4).

The rows and columns of a grid are cut into windows of w x w tokens; in each of them:

Q, K, V = X W_qkv + b                w^2 x 3D
A = softmax(Q K^T / sqrt(d) + P)     w^2 x w^2 for each of h heads, d = D / h
Y = (A V) W_out + b                  w^2 x D

P[i, j] is learned, one number for each head and each offset of two tokens, of which a
window has (2w - 1)^2. Swin shifts the windows by half a side in every other block, so that
they exchange what they know; the blocks here are all alike, and no window is shifted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.op import Buffer, Elementwise, Inline, Linear, MatMul, Parameter
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE
from vitprof.options import Rule, divides, whole


@dataclass(frozen=True, kw_only=True)
class WindowAttention(Mixer):
    """Softmax attention within windows that do not overlap."""

    name = "window"
    aliases = ("swin",)
    summary = "windowed attention: every token looks at those of its window"
    source = "Liu et al. 2021, Swin Transformer, section 3.2, eq. 4"
    module = "vitprof.modules.mixers.window:WindowAttention"
    on_grid = True

    window: int = whole(7, symbol="w", maximum=10_000, help="window: side of a window in tokens")
    qkv_bias: bool = qkv_bias_option()

    def admits(self, sizes: MixerSizes) -> Iterator[Rule]:
        yield from super().admits(sizes)
        assert sizes.grid is not None
        for name, side in zip(("grid_rows", "grid_columns"), sizes.grid, strict=True):
            yield divides(name, side.value, "window", self.window)

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        w = self.size("window")
        m, n = w * w, (N // (w * w)).named("windows")
        across = ONE if sizes.grid is None else sizes.grid[1] // w
        x = run.copy(x, w, across)
        qkv = run(Linear("qkv", (B, N), D, 3 * D, bias=self.qkv_bias), x)
        q, k, v = run.parts(run.reordered(qkv), *3 * [(B, n, h, m, d)])
        q = run(Inline("scale", "scale", (B, n, h, m, d)), q)
        table = run(Parameter("relative_bias", ((2 * w - 1) * (2 * w - 1), h), trained=True))
        index = run(Buffer("relative_index", (m, m), dtype="int64"))
        bias = run.gathered(table, index, (h, m, m))
        scores = (B, n, h, m, m)
        a = run(
            Elementwise("weights", "softmax", "Softmax", scores),
            run(
                Inline("positions", "add", scores),
                run(
                    MatMul("scores", (B, n, h), m, d, m),
                    run.copy(q, B * n, h, m),
                    run.copy(k, B * n, h),
                ),
                run.expanded(bias, scores),
            ),
        )
        y = run(MatMul("output", (B, n, h), m, m, d), a, run.copy(v, B * n, h))
        y = run.reordered(y, B * n, h, m)
        out = run(Linear("fc_out", (B, N), D, D), run.copy(y, h, m))
        return run.copy(run.reordered(out, w, across), w, across)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        assert sizes.grid is not None
        return {**super().arguments(sizes), "grid": tuple(side.value for side in sizes.grid)}
