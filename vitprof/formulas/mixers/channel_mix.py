"""Channel mix of Vision-RWKV (Duan et al. 2024, eq. 6).

X_q = q-shift(X)                         N x D, with `q_shift`
X_k, X_r = X_q + m (X - X_q)             a learned m of D for each of the two
K = relu(X_k W_K)^2                      N x H, H = `channel_ratio` times D
Y = sigmoid(X_r W_R) * (K W_V)           N x D

In Vision-RWKV it is the MLP of a block whose mixer is `rwkv`. Without its q-shift it mixes no
tokens. Parameters are those of `VRWKV_ChannelMix` of OpenGVLab/Vision-RWKV.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.mixers.rwkv import ShiftedMixer
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import whole


@dataclass(frozen=True, kw_only=True)
class ChannelMix(ShiftedMixer):
    """An MLP with squared ReLU and a gate, on channels that the q-shift moved."""

    name = "channel-mix"
    summary = "RWKV's channel mix: a gated MLP after a shift of channels by a patch"
    source = "Duan et al. 2024, Vision-RWKV, eq. 6"
    module = "vitprof.modules.mixers.channel_mix:ChannelMix"

    channel_ratio: int = whole(
        4,
        symbol="ratio",
        maximum=1_000,
        help="channel-mix: hidden channels divided by dim",
        grows=64,
        convex=True,
    )

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        D = sizes.dim
        k, r = self.mixed(run, x, sizes, ("k", "r"))
        k = run.linear("key", k, (self.size("channel_ratio") * D).named("H"), bias=False)
        k = run.square("square", run.activation("act", "relu", k))
        r = run.activation("gate", "sigmoid", run.linear("receptance", r, D, bias=False))
        return run.multiply("gating", r, run.linear("value", k, D, bias=False))
