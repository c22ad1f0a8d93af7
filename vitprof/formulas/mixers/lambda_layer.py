"""Lambda layer (Bello 2021, LambdaNetworks, section 3, and intra-depth).

    Q, K, V = X W_qkv + b            N x hk, N x u x k, N x u x v, with v = D / h
    Q, V = BN(Q), BN(V)
    L_content = softmax(K)^T V       k x v, summed over tokens and u, the softmax along tokens
    L_position[n]                    k x v for each token:
        local    conv(V)             r x r neighbours, with a kernel for each of u
        global   E[n]^T V            summed over tokens m and u, E[n, m] is u x k
    Y[n] = (L_content + L_position[n])^T q[n]   for each of h heads, joined to D

Local, the N tokens form an N x 1 map in every model, since the scattered tokens of a masked
encoder are no grid, and the r x r kernel keeps all its weights. Global, E is learned for each
of (2 rows - 1)(2 columns - 1) relative positions on the grid, where there is one, and else on
an N x 1 map. The intra-depth u is 1 if not told otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.op import BatchNorm, Conv, Elementwise, Inline, Linear, MatMul, Parameter
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE, Size
from vitprof.options import choice, whole


@dataclass(frozen=True, kw_only=True)
class LambdaLayer(Mixer):
    """Lambda layer: a linear map made from the context, applied to each query."""

    name = "lambda"
    summary = "lambda layer: the context becomes a linear map, applied to each query"
    source = "Bello 2021, LambdaNetworks, sections 3.1 and 3.2"
    module = "vitprof.modules.mixers.lambda_layer:LambdaLayer"

    key_depth: int = whole(16, symbol="k", help="lambda: channels of a query and a key")
    receptive_field: int = whole(
        9, symbol="r", odd=True, maximum=10_001, help="lambda: side of the position kernel"
    )
    positions: str = choice(
        "local",
        names=("local", "global"),
        help="lambda: a convolution, or an embedding for each relative position",
    )
    intra_depth: int = whole(
        1, symbol="u", maximum=10_000, help="lambda: keys and values that a token has"
    )
    qkv_bias: bool = qkv_bias_option()

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        rows, columns = _map(sizes)
        return {**super().arguments(sizes), "grid": (rows.value, columns.value)}

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h = sizes.batch, sizes.tokens, sizes.dim, sizes.heads
        k, v, u = self.size("key_depth"), sizes.head_dim.named("v"), self._copies()
        qkv = run(Linear("qkv", (B, N), D, h * k + k * u + v * u, bias=self.qkv_bias), x)
        raw_q, keys, values = run.parts(qkv, (B, N, h * k), (B, N, k * u), (B, N, v * u))
        q = run(BatchNorm("norm_q", B * N, h * k), raw_q)
        values = run(BatchNorm("norm_v", B * N, v * u), values)
        content = run(
            MatMul("content_lambda", (B,), k, N * u, v),
            run(Elementwise("softmax", "softmax", "Softmax", (B, N, k * u)), keys),
            values,
        )
        content_output = run(MatMul("content_output", (B,), N * h, k, v), q, content)
        if self.positions == "local":
            r = self.size("receptive_field")
            position = run(Conv("position_lambdas", B, (N, v), (r * r,), u, k, rank=3), values)
            moved: tuple[Size, ...] = (B, k, N)
        else:
            position = run(
                MatMul("position_lambdas", (), N * k, N * u, B * v),
                self._embeddings(run, sizes),
                run.copy(run.copy(run.reordered(values)), B, N * u),
            )
            position = run.reordered(position, B, N * k)
            moved = (B, N)
        position_output = run(
            MatMul("position_output", (B, N), h, k, v), q, run.copy(position, *moved)
        )
        return run(Inline("sum", "add", (B, N, h, v)), content_output, position_output)

    def _copies(self) -> Size:
        """u, which a product does not spell out where it is 1."""
        u = self.size("intra_depth")
        return ONE if isinstance(u.value, int) and u.value == 1 else u

    def _embeddings(self, run: Run[T], sizes: MixerSizes) -> T:
        """E as N k x N u: of a table of relative positions, the window that each token sees."""
        N, k, u = sizes.tokens, self.size("key_depth"), self._copies()
        rows, columns = _map(sizes)
        table = run(Parameter("embeddings", (_span(rows), _span(columns), k, u), trained=True))
        seen = run.picked(table, (rows, _span(columns), k, u, rows))
        return run.copy(run.picked(seen, (N, k, u, N)))


def _map(sizes: MixerSizes) -> tuple[Size, Size]:
    """Rows and columns of the tokens; a column of them where there is no grid."""
    return sizes.grid or (sizes.tokens, ONE)


def _span(side: Size) -> Size:
    """Relative positions along a side."""
    return ONE if side is ONE else 2 * side - 1
