"""Lambda layer with local positions (Bello 2021, LambdaNetworks, sections 3.1 and 3.2).

    Q, K, V = X W_qkv + b            N x hk, N x k, N x v, with v = D / h
    Q, V = BN(Q), BN(V)
    L_content = softmax(K)^T V       k x v, the softmax along the tokens
    L_position[n] = conv(V)          k x v for each token, r x r neighbours
    Y[n] = (L_content + L_position[n])^T q[n]   for each of h heads, joined to D

The scattered tokens of a masked encoder are no grid: the N tokens form an N x 1 map
in every model, and the r x r kernel keeps all its weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.op import BatchNorm, Conv, Elementwise, Inline, Linear, MatMul
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE
from vitprof.options import whole


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

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h = sizes.batch, sizes.tokens, sizes.dim, sizes.heads
        k, v = self.size("key_depth"), sizes.head_dim.named("v")
        r = self.size("receptive_field")
        qkv = run(Linear("qkv", (B, N), D, h * k + k + v), x)
        raw_q, keys, values = run.parts(qkv, (B, N, h * k), (B, N, k), (B, N, v))
        q = run(BatchNorm("norm_q", B * N, h * k), raw_q)
        values = run(BatchNorm("norm_v", B * N, v), values)
        content = run(
            MatMul("content_lambda", (B,), k, N, v),
            run(Elementwise("softmax", "softmax", "Softmax", (B, N, k)), keys),
            values,
        )
        content_output = run(MatMul("content_output", (B,), N * h, k, v), q, content)
        position = run(Conv("position_lambdas", B, (N, v), (r * r,), ONE, k, rank=3), values)
        position_output = run(
            MatMul("position_output", (B, N), h, k, v), q, run.copy(position, B, k, N)
        )
        return run(Inline("sum", "add", (B, N, h, v)), content_output, position_output)
