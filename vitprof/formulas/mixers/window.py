"""Attention within windows (Liu et al. 2021, Swin Transformer, section 3.2, eq. 4).

The rows and columns of a grid are cut into windows of w x w tokens; in each of them:

Q, K, V = X W_qkv + b                w^2 x 3D
A = softmax(Q K^T / sqrt(d) + P)     w^2 x w^2 for each of h heads, d = D / h
Y = (A V) W_out + b                  w^2 x D

P[i, j] is learned, one number for each head and each of the (2w - 1)^2 offsets of two tokens of a
window. `window_relative` has other kinds of P (`vitprof.formulas.parts.relative`).

With `window_shift`, every second block first moves the rows and the columns of the grid by half a
side of a window, so that windows exchange information, and moves them back behind the attention
(Liu et al. 2021, section 3.2). The last windows then hold tokens of opposite sides of the image,
which do not attend to each other: a constant M, w^2 x w^2 for each window, is added to P. A side
with a single window is not moved.

With `window_cosine` (Liu et al. 2022, Swin Transformer V2, eq. 2), of each head

A = softmax(cos(Q, K) min(t, 100) + P)     with a learned log t

With `window_pad`, rows and columns of zeros complete the last windows of a grid that w does not
divide (Li et al. 2022, ViTDet, in its code; Kirillov et al. 2023, Segment Anything): such tokens
are projected and attended to as others, and what they become is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vitprof.formulas.mixer import BlockList, Mixer, MixerSizes
from vitprof.formulas.mixers.options import key_bias_option, proj_bias_option, qkv_bias_option
from vitprof.formulas.parts.relative import BOUNDED, TYPES, bounded_bias, decomposed_bias
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor, alike
from vitprof.values.options import Constraint, choice, divides, flag, needing, whole
from vitprof.values.size import ONE, Size


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
    window_shift: bool = flag(
        False, help="window: windows of every second block moved by half a side, as in Swin"
    )
    window_relative: str = choice(
        "table",
        names=("table", "none", "mlp", "decomposed"),
        help="window: bias of the scores by the offset of two tokens: a table, none, an MLP of the "
        "offset (as in Swin V2), or products of the query with vectors for its rows and its "
        "columns (decomposed, as in SAM)",
    )
    window_hidden: int = needing(
        whole(512, help="window: hidden width of the MLP of relative positions"),
        {"window_relative": ("mlp",)},
    )
    window_cosine: bool = flag(
        False, help="window: cosines of queries and keys with a learned scale, as in Swin V2"
    )
    qkv_bias: bool = qkv_bias_option()
    key_bias: bool = key_bias_option()
    proj_bias: bool = proj_bias_option()
    shifted: bool = False  # a block whose windows are moved

    def of_blocks(self, blocks: BlockList, sizes: MixerSizes) -> tuple[Mixer, ...]:
        if not (self.window_shift and self.checked and any(self._shifts(sizes))):
            return (self,)
        both = (self, replace(self, shifted=True))
        return tuple([both[number % 2] for number in range(blocks.depth.value)])

    def _shifts(self, sizes: MixerSizes) -> tuple[int, ...]:
        """Return by how many rows and columns the grid of a moved block is moved."""
        grid = sizes.grid or ()
        return tuple([self.window // 2 * (side.value > self.window) for side in grid])

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
        shifts = self._shifts(sizes) if self.shifted else (0, 0)
        moved = tuple([axis for axis, shift in enumerate(shifts, 1) if shift])
        by = tuple([shift for shift in shifts if shift])
        if moved or pads:
            x = x.reshape(B, *sizes.grid, D)
        if moved:
            x = x.roll(tuple([-shift for shift in by]), moved)
        if pads:
            x = run.pad(x, B, *whole, D)
        x = x.reshape(B, rows, w, columns, w, D).transpose(2, 3).reshape(B, M, D)
        q, k, v = self._project(run, x, (B, n, m, h, d))
        a = self._scores(run, q, k, sizes)
        del q, k
        if moved:
            a = run.add("masked", a, run.buffer("shift_mask", n, m, m).unsqueeze(1))
        a = run.softmax("weights", a, -1)
        y = run.matmul("output", a, v)
        out = run.linear("fc_out", y.transpose(2, 3).reshape(B, M, D), D, bias=self.proj_bias)
        out = out.reshape(B, rows, columns, w, w, D).transpose(2, 3)
        if moved or pads:
            out = out.reshape(B, *whole, D)
        for axis, (padded, side) in enumerate(zip(whole, sizes.grid, strict=True), 1):
            if pads and not alike((padded,), (side,)):
                out = out.narrow(axis, 0, side)
        if moved:
            out = out.roll(by, moved)
        return out.reshape(B, N, D)

    def _project(self, run: Run, x: Tensor, each: tuple[Size, ...]) -> tuple[Tensor, ...]:
        """Return Q, K and V: (B, windows, h, w^2, d)."""
        (B, n, m, h, d), D = each, x.shape[-1]
        if self.key_bias or not self.qkv_bias:
            qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).reshape(B, n, m, 3, h, d)
            return qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        q = run.linear("q", x, D)
        k = run.linear("k", x, D, bias=False)
        v = run.linear("v", x, D)
        q = q.reshape(B, n, m, h, d).transpose(2, 3)
        k = k.reshape(B, n, m, h, d).transpose(2, 3)
        return q, k, v.reshape(B, n, m, h, d).transpose(2, 3)

    def _scores(self, run: Run, q: Tensor, k: Tensor, sizes: MixerSizes) -> Tensor:
        """Return the scores of queries and keys with the bias of relative positions."""
        unscaled = q
        if self.window_cosine:
            q = run.l2_norm("query_norm", q)
            k = run.l2_norm("key_norm", k)
            bias = self._bias(run, unscaled, sizes)
            a = run.matmul("scores", q, k.mT)
            logarithm = run.parameter("logit_scale", sizes.heads, ONE, ONE)
            a = run.multiply("scaled", a, run.exp("scale", run.clamp("most", logarithm)))
        else:
            q = run.scale("scale", q)
            bias = self._bias(run, unscaled, sizes)
            a = run.matmul("scores", q, k.mT)
        return a if bias is None else run.add("positions", a, bias)

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
        if self.window_relative == "mlp":
            made = partial(bounded_bias, run, (w, w), self.size("window_hidden"), sizes.heads)
            return run.layer("relative", BOUNDED, made)
        table = run.parameter("relative_bias", (2 * w - 1) * (2 * w - 1), sizes.heads)
        index = run.buffer("relative_index", w * w, w * w, dtype="int64")
        return table.index(index).permute(2, 0, 1)

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        assert sizes.grid is not None
        arguments = super().arguments(sizes)
        arguments["window_shift"] = self._shifts(sizes) if self.shifted else (0, 0)
        return {**arguments, "grid": tuple(side.value for side in sizes.grid)}
