"""Cross-covariance attention (El-Nouby et al. 2021, XCiT, section 3).

Q, K, V = X W_qkv + b              d x N for each of h heads, d = D / h
Q, K = Q / |Q|, K / |K|            each channel, along the tokens
A = softmax(t Q K^T)               d x d, t learned for each head: the paper's 1 / tau
Y = (A V)^T W_out + b              N x D

With `patch_interaction`, the local patch interaction follows:

Z = conv(BN(GELU(conv(LN(Y)))))    two depthwise 3 x 3 convolutions on rows and columns
Y = Y + Z                          with `local_scale` Y + g Z, g learned, one for each channel

In XCiT that is a sub-block on the residual stream, X + Y, with its own layer scale. A mixer
has no access to the stream, so here it reads only Y; parameters and work are the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import flag, needing
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class CrossCovarianceAttention(Mixer):
    """Cross-covariance attention: channels attend to channels."""

    name = "xca"
    summary = "cross-covariance attention: channels attend to channels, cost linear in tokens"
    source = "El-Nouby et al. 2021, XCiT, section 3"
    module = "vitprof.modules.mixers.xca:CrossCovarianceAttention"

    patch_interaction: bool = flag(
        False, help="xca: two depthwise convolutions after the attention, on the grid of patches"
    )
    local_scale: bool = needing(
        flag(False, help="xca: learned gain per channel on the output of the patch interaction"),
        {"patch_interaction": (True,)},
    )
    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    @property
    def needs_grid(self) -> bool:
        return self.patch_interaction

    @property
    def neighbourly(self) -> str:
        return "xca with patch interaction"

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        arguments = super().arguments(sizes)
        if self.patch_interaction:
            assert sizes.grid is not None
            arguments["grid"] = tuple(side.value for side in sizes.grid)
        return arguments

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        temperature = run.parameter("temperature", h, ONE, ONE)
        qkv = run.linear("qkv", x, 3 * D, bias=self.qkv_bias).reshape(B, N, 3, h, d)
        qkv = qkv.permute(2, 0, 3, 4, 1).contiguous()
        q, k, v = qkv.unbind(0)
        q = run.l2_norm("query_norm", q)
        k = run.l2_norm("key_norm", k)
        a = run.multiply("scale", run.matmul("scores", q, k.mT), temperature)
        y = run.matmul("output", run.softmax("weights", a, -1), v)
        y = y.reshape(B, D, N).transpose(1, 2).contiguous()
        y = run.linear("fc_out", y, D, bias=self.proj_bias)
        if not self.patch_interaction:
            return y
        z = run.layer_norm("local_norm", y)
        z = run.layer("local", "PatchInteraction", partial(self._interact, run, sizes), z)
        if self.local_scale:
            z = run.layer_scale("local_scale", z)
        return run.add("local_residual", y, z)

    def _interact(self, run: Run, sizes: MixerSizes, z: Tensor) -> Tensor:
        assert sizes.grid is not None
        (B, N, D), three = z.shape, Size(3)
        z = z.transpose(1, 2).unflatten(2, sizes.grid)
        z = run.conv("conv1", z, D, (three, three), groups=D)
        z = run.activation("act", "gelu", z)
        z = run.batch_norm("norm", z)
        z = run.conv("conv2", z, D, (three, three), groups=D)
        return z.reshape(B, D, N).transpose(1, 2)
