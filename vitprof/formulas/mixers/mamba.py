"""Bidirectional Mamba block (Gu and Dao 2023, Mamba, eq. 2; Zhu et al. 2024, Vim, algorithm 1).

X, Z = X W_in                        N x E each, E = expand x D
Y, Y' = SSM(X), SSM of X from its end
Y = ((Y + Y') / 2 * swish(Z)) W_out  N x D; `causal`, without Y'

SSM, with weights of its own for each direction:
X = swish(conv(X))                   N x E, depthwise, `conv_width` tokens
T, B, C = X W_x                      N x rank, N x S, N x S
T = softplus(T W_dt + b)             N x E, the steps
H[n] = e^(T[n] A) H[n-1] + T[n] B[n] X[n]     E x S, A = -e^A_log
Y = H C + d X                        N x E; A_log of E x S, d of E

The scan H is no contraction, nor are its product with C and what goes into it: their elements are
listed, B x N x E x S each. The layers and the convolution, which computes `conv_width - 1` tokens
more than there are, are counted. The scan is the paper's recurrence, token by token, in fp32, and
keeps every state for the backward pass; the paper's kernel keeps none and recomputes them.

Parameters are those of `Mamba` of hustvl/Vim with `bimamba_type` v2, in which `dt_rank` is D / 16
rounded up, and E 2 D, S 16 and `conv_width` 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.options import causal_option, expand_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import whole


@dataclass(frozen=True, kw_only=True)
class Mamba(Mixer):
    """Selective state spaces, scanned in both directions."""

    name = "mamba"
    aliases = ("vim",)
    summary = "Mamba: state spaces that select by token, scanned in both directions"
    source = "Gu and Dao 2023, Mamba, eq. 2; Zhu et al. 2024, Vision Mamba, algorithm 1"
    module = "vitprof.modules.mixers.mamba:Mamba"

    expand: int = expand_option()
    state: int = whole(
        16,
        symbol="state",
        maximum=10_000,
        help="mamba: states of an inner channel",
        grows=1_024,
        convex=True,
    )
    dt_rank: int = whole(
        4,
        symbol="rank",
        maximum=10_000,
        help="mamba: rank of the layer that computes the steps; in the paper dim / 16, rounded up",
        grows=1_024,
        convex=True,
    )
    conv_width: int = whole(
        4,
        symbol="width",
        maximum=1_000,
        help="mamba: tokens that the convolution before the scan reads",
        grows=64,
        convex=True,
    )
    causal: bool = causal_option()

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        D = sizes.dim
        E = (self.size("expand") * D).named("E")
        x, z = run.linear("in_proj", x, 2 * E, bias=False).split((E, E), -1)
        direction = partial(self._direction, run)
        y = run.layer("ahead", "SelectiveScan", direction, x)
        if not self.causal:
            behind = run.layer("behind", "SelectiveScan", direction, x.flip(1)).flip(1)
            y = run.scale("half", run.add("both", y, behind))
        gated = run.multiply("gating", y, run.activation("act", "silu", z))
        return run.linear("out_proj", gated, D, bias=False)

    def _direction(self, run: Run, x: Tensor) -> Tensor:
        """Return Y of one direction for X of (B, N, E)."""
        _, N, E = x.shape
        S, rank, width = (self.size(name) for name in ("state", "dt_rank", "conv_width"))
        log, skip = run.parameter("A_log", E, S), run.parameter("D", E)
        x = run.conv("conv1d", x.transpose(1, 2), E, (width,), positions=(N + width - 1,), groups=E)
        x = run.activation("act", "silu", x.narrow(2, 0, N)).transpose(1, 2)
        dt, b, c = run.linear("x_proj", x, rank + 2 * S, bias=False).split((rank, S, S), -1)
        dt = run.activation("dt_act", "softplus", run.linear("dt_proj", dt, E).exact())
        x = x.exact()
        h = self._states(run, x, dt, b.exact(), log.exact())
        y = run.sum("output", run.multiply("outputs", h, c.exact().unsqueeze(2)), -1)
        return run.add("sum", y, run.multiply("skip", x, skip)).to("float")

    def _states(self, run: Run, x: Tensor, dt: Tensor, b: Tensor, log: Tensor) -> Tensor:
        """Return H: (B, N, E, S)."""
        rates = run.scale("rates", run.exp("A", log))
        decay = run.exp("decay", run.multiply("exponents", dt.unsqueeze(-1), rates))
        steps = run.multiply("steps", dt, x).unsqueeze(-1)
        return run.scan("scan", decay, run.multiply("inputs", steps, b.unsqueeze(2)))
