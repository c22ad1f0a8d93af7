"""Attention within windows (Liu et al. 2021, Swin Transformer, section 3.2, eq. 4).

The rows and columns of a grid are cut into windows of w x w tokens; in each of them:

Q, K, V = X W_qkv + b                w^2 x 3D
A = softmax(Q K^T / sqrt(d) + P)     w^2 x w^2 for each of h heads, d = D / h
Y = (A V) W_out + b                  w^2 x D

P[i, j] is learned: one number for each head and each of the (2w - 1)^2 offsets of two tokens
of a window; with `window_relative` `decomposed`, it is that of the query and the offset
(`vitprof.formulas.parts.relative`). Swin shifts the windows by half a side in every other block, so
that windows exchange information; here the blocks are equal, and no window is shifted.

With `window_pad`, rows and columns of zeros complete the last windows of a grid that w does not
divide (Li et al. 2022, ViTDet, in its code; Kirillov et al. 2023, Segment Anything): such tokens
are projected and attended to as others, and what they become is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.parts.relative import TYPES, decomposed_bias
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor, alike
from vitprof.values.options import Constraint, choice, divides, flag, whole
from vitprof.values.size import Size


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
    window_pad: bool = flag(
        False, help="window: zeros behind a grid that the window does not divide, as in SAM"
    )
    window_relative: str = choice(
        "table",
        names=("table", "none", "decomposed"),
        help="window: bias of the scores by the offset of two tokens: a table, none, or products "
        "of the query with vectors for its rows and its columns (decomposed, as in SAM)",
    )
    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    def admits(self, sizes: MixerSizes) -> Iterator[Constraint]:
        yield from super().admits(sizes)
        assert sizes.grid is not None
        for name, side in zip(("grid_rows", "grid_columns"), sizes.grid, strict=True):
            yield self._covers(name, side)

    def _covers(self, name: str, side: Size) -> Constraint:
        rule = divides(name, side.value, "window", self.window)
        return Constraint(
            rule.holds | self.window_pad, lambda: f"{rule.sentence()}, or any with --window-pad"
        )

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        assert sizes.grid is not None
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        w = self.size("window")
        m, (rows, columns) = w * w, self._windows(sizes.grid)
        n, M = (N // m).named("windows"), N
        if self.window_pad:
            n = (rows * columns).named("windows")
            M = n * m
        whole = rows * w, columns * w
        pads = not alike(whole, sizes.grid)
        if pads:
            x = run.pad(x.reshape(B, *sizes.grid, D), B, *whole, D)
        x = x.reshape(B, rows, w, columns, w, D).transpose(2, 3).reshape(B, M, D)
        qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).reshape(B, n, m, 3, h, d)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        unscaled = q
        q = run.scale("scale", q)
        bias = self._bias(run, unscaled, sizes)
        a = run.matmul("scores", q, k.mT)
        if bias is not None:
            a = run.add("positions", a, bias)
        a = run.softmax("weights", a, -1)
        y = run.matmul("output", a, v)
        out = run.linear("fc_out", y.transpose(2, 3).reshape(B, M, D), D, bias=self.proj_bias)
        out = out.reshape(B, rows, columns, w, w, D).transpose(2, 3)
        if pads:
            out = out.reshape(B, *whole, D)
            for axis, (padded, side) in enumerate(zip(whole, sizes.grid, strict=True), 1):
                if not alike((padded,), (side,)):
                    out = out.narrow(axis, 0, side)
        return out.reshape(B, N, D)

    def _windows(self, grid: tuple[Size, Size]) -> tuple[Size, Size]:
        """Return rows and columns of windows."""
        (rows, columns), w = grid, self.size("window")
        if not self.window_pad:
            return rows // w, columns // w
        return (
            Size(-(-rows.value // w.value), "window rows"),
            Size(-(-columns.value // w.value), "window columns"),
        )

    def _bias(self, run: Run, q: Tensor, sizes: MixerSizes) -> Tensor | None:
        """Return P of relative positions, that of the queries q if it is decomposed."""
        w = self.size("window")
        if self.window_relative == "none":
            return None
        if self.window_relative == "decomposed":
            of_queries = partial(decomposed_bias, run, (w, w), 0, 3)
            return run.layer("relative", TYPES["decomposed"], of_queries, q)
        table = run.parameter("relative_bias", (2 * w - 1) * (2 * w - 1), sizes.heads)
        index = run.buffer("relative_index", w * w, w * w, dtype="int64")
        return table.index(index).permute(2, 0, 1)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        assert sizes.grid is not None
        return {**super().arguments(sizes), "grid": tuple(side.value for side in sizes.grid)}
