"""Lambda layer (Bello 2021, LambdaNetworks, section 3, and intra-depth).

    Q, K, V = X W_qkv + b           N x hk, N x u x k, N x u x v, v = D / h
    Q, V = BN(Q), BN(V)
    L_content = softmax(K)^T V      k x v, summed over tokens and u
    L_position[n]                   k x v for each token:
        local     conv(V)           r x r neighbours on an N x 1 map
        local-2d  conv(V)           r x r neighbours on the grid of the patches
        global    E[n]^T V          summed over tokens m and u, E[n, m] u x k
    Y[n] = (L_content + L_position[n])^T q[n]   of each of h heads, joined to D

The softmax is along the tokens; the convolution has a kernel for each of u. With local
positions, the N tokens form an N x 1 map in every model, since the kept tokens of a masked
encoder form no grid; the r x r kernel keeps all its weights. With `local-2d`, the paper's own
form for images, they form rows and columns, so there has to be a grid; padding is counted, so
both cost the same. With global positions, E is learned for each of (2 rows - 1)(2 columns - 1)
relative positions on the grid, or on an N x 1 map if there is no grid. The intra-depth u is 1
by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import choice, needing, whole
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class LambdaLayer(Mixer):
    """Lambda layer: a linear map made from the context, applied to each query."""

    name = "lambda"
    summary = "lambda layer: the context becomes a linear map, applied to each query"
    source = "Bello 2021, LambdaNetworks, sections 3.1 and 3.2"
    module = "vitprof.modules.mixers.lambda_layer:LambdaLayer"

    key_depth: int = whole(
        16, symbol="k", help="lambda: channels of a query and a key", grows=1_024, convex=True
    )
    receptive_field: int = needing(
        whole(
            9,
            symbol="r",
            odd=True,
            maximum=10_001,
            help="lambda: side of the position kernel",
            grows=1_024,
            convex=True,
        ),
        {"positions": ("local", "local-2d")},
    )
    positions: str = choice(
        "local",
        names=("local", "local-2d", "global"),
        help="lambda: a convolution along the tokens, N x 1 in every model, one over rows and "
        "columns of a grid, or an embedding per relative position",
    )
    intra_depth: int = whole(
        1,
        symbol="u",
        maximum=10_000,
        help="lambda: keys and values per token",
        grows=1_024,
        convex=True,
    )
    qkv_bias: bool = qkv_bias_option()

    @property
    def needs_grid(self) -> bool:
        return self.positions == "local-2d"

    @property
    def neighbourly(self) -> str:
        return f"lambda with positions {self.positions}"

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        rows, columns = _map(sizes)
        return {**super().arguments(sizes), "grid": (rows.value, columns.value)}

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, v = x.shape, sizes.heads, sizes.head_dim.named("v")
        k, u = self.size("key_depth"), self._copies()
        qkv = run.linear("qkv", x, h * k + k * u + v * u, bias=self.qkv_bias)
        q, keys, values = qkv.split((h * k, k * u, v * u), -1)
        q = run.batch_norm("norm_q", q.flatten(0, 1)).reshape(B, N, h, k)
        values = run.batch_norm("norm_v", values.flatten(0, 1)).reshape(B, N, u * v)
        # The u keys and values of a token are rows, as those of other tokens are.
        content = run.matmul(
            "content_lambda",
            run.softmax("softmax", keys, 1).reshape(B, N * u, k).transpose(1, 2),
            values.reshape(B, N * u, v),
        )
        # Every head reads the same lambdas, so the heads are rows of one product.
        content_output = run.matmul("content_output", q.reshape(B, N * h, k), content)
        values = values.reshape(B, N, u, v)
        r = self.size("receptive_field")
        if self.positions == "local":
            values = values.transpose(1, 2).unsqueeze(3)
            position = run.conv("position_lambdas", values, k, (r, r, ONE)).squeeze(3)
            position = position.transpose(1, 2)
        elif self.positions == "local-2d":
            values = values.transpose(1, 2).unflatten(2, _map(sizes))
            position = run.conv("position_lambdas", values, k, (r, r, ONE))
            position = position.reshape(B, k, N, v).transpose(1, 2)
        else:
            # Every image reads the same embeddings, so the images are columns of one product.
            position = run.matmul(
                "position_lambdas",
                self._embeddings(run, sizes),
                values.flip(1).permute(1, 2, 0, 3).reshape(N * u, B * v),
            )
            position = position.reshape(N, k, B, v).permute(2, 0, 1, 3)
        position_output = run.matmul("position_output", q, position)
        y = run.add("sum", content_output.reshape(B, N, h, v), position_output)
        return y.reshape(B, N, D)

    def _copies(self) -> Size:
        """Return u; the literal 1, which a product does not show, if it is 1."""
        u = self.size("intra_depth")
        return ONE if isinstance(u.value, int) and u.value == 1 else u

    def _embeddings(self, run: Run, sizes: MixerSizes) -> Tensor:
        """Return E as (N k, N u): each token's window of the table of relative positions."""
        N, k, u = sizes.tokens, self.size("key_depth"), self._copies()
        rows, columns = _map(sizes)
        across, along = _offsets(rows), _offsets(columns)
        table = run.parameter("embeddings", across * along, k, u)
        windows = table.reshape(across, along, k, u).unfold(0, rows).unfold(1, columns)
        return windows.permute(0, 1, 2, 4, 5, 3).clone().reshape(N * k, N * u)


def _offsets(side: Size) -> Size:
    """Return the number of offsets between two tokens along a side."""
    return ONE if side is ONE else 2 * side - 1


def _map(sizes: MixerSizes) -> tuple[Size, Size]:
    """Return rows and columns of the tokens; N and 1 if there is no grid."""
    return sizes.grid or (sizes.tokens, ONE)
