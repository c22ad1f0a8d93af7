"""Cross-covariance attention (El-Nouby et al. 2021, XCiT, section 3).

Q, K, V = X W_qkv + b              d x N for each of h heads, d = D / h
Q, K = Q / |Q|, K / |K|            each channel, along the tokens
A = softmax(t Q K^T)               d x d, t learned for each head: the paper's 1 / tau
Y = (A V)^T W_out + b              N x D

With `patch_interaction`, the local patch interaction follows:

Z = conv(BN(GELU(conv(LN(Y)))))    two depthwise 3 x 3 convolutions on rows and columns
Y = Y + Z                          with `local_scale` Y + g Z, g learned, one for each channel

In XCiT that is a sub-block on the residual stream, X + Y, with a layer scale of its own. A mixer
does not see the stream, so here it reads Y alone; its parameters and its work are the paper's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import qkv_bias_option
from vitprof.formulas.op import (
    BatchNorm,
    Conv,
    Elementwise,
    Inline,
    LayerNorm,
    LayerScale,
    Linear,
    MatMul,
    Parameter,
)
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import ONE, Size
from vitprof.options import Rule, flag


@dataclass(frozen=True, kw_only=True)
class CrossCovarianceAttention(Mixer):
    """Cross-covariance attention: channels look at channels."""

    name = "xca"
    summary = "cross-covariance attention: channels look at channels, cost linear in tokens"
    source = "El-Nouby et al. 2021, XCiT, section 3"
    module = "vitprof.modules.mixers.xca:CrossCovarianceAttention"

    patch_interaction: bool = flag(
        False, help="xca: two depthwise convolutions after it, on the grid of the patches"
    )
    local_scale: bool = flag(
        False, help="xca: a learned gain a channel on what the patch interaction adds"
    )
    qkv_bias: bool = qkv_bias_option()

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield Rule(
            self.patch_interaction or not self.local_scale,
            lambda: (
                "local scale is on, but scales the patch interaction, which is off; "
                "turn patch interaction on or local scale off"
            ),
        )

    @property
    def needs_grid(self) -> bool:
        return self.patch_interaction

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        arguments = super().arguments(sizes)
        if self.patch_interaction:
            assert sizes.grid is not None
            arguments["grid"] = tuple(side.value for side in sizes.grid)
        return arguments

    def forward(self, run: Run[T], x: T, sizes: MixerSizes) -> T:
        B, N, D, h, d = sizes.batch, sizes.tokens, sizes.dim, sizes.heads, sizes.head_dim
        channels = (B, h, d, N)
        temperature = run(Parameter("temperature", (h, ONE, ONE), trained=True))
        qkv = run(Linear("qkv", (B, N), D, 3 * D, bias=self.qkv_bias), x)
        qkv = run.copy(run.reordered(qkv, B * N), B * N)
        q, k, v = run.parts(qkv, *3 * [channels])
        q = run(Inline("query_norm", "l2 norm", channels), q)
        k = run(Inline("key_norm", "l2 norm", channels), k)
        a = run(MatMul("scores", (B, h), d, N, d), q, k)
        a = run(Inline("scale", "multiply", (B, h, d, d)), a, temperature)
        weights = Elementwise("weights", "softmax", "Softmax", (B, h, d, d))
        op = MatMul("output", (B, h), d, d, N)
        y = run.copy(run.reordered(run(op, run(weights, a), v), D, N), D, N)
        y = run(Linear("fc_out", (B, N), D, D), y)
        if not self.patch_interaction:
            return y
        assert sizes.grid is not None
        rows, columns = sizes.grid
        kernel = (Size(3), Size(3))

        def interaction(z: T) -> T:
            z = run(Conv("conv1", B, (N,), kernel, ONE, D, rank=2), z)
            z = run(Elementwise("act", "gelu", "GELU", (B, D, rows, columns)), z)
            z = run(BatchNorm("norm", B, D, (rows, columns)), z)
            return run(Conv("conv2", B, (N,), kernel, ONE, D, rank=2), z)

        z = run(LayerNorm("local_norm", (B, N), D), y)
        z = run.layer("local", "PatchInteraction", interaction, z)
        if self.local_scale:
            z = run(LayerScale("local_scale", (B, N), D), z)
        return run(Inline("local_residual", "add", (B, N, D)), y, z)
