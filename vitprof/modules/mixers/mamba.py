"""Bidirectional Mamba block; `vitprof.formulas.mixers.mamba` gives the equations."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn

from vitprof.modules.fourier import exact

STEPS = (0.001, 0.1)  # the initial steps lie between these


class SelectiveScan(nn.Module):
    """One direction: a convolution, a scan of states selected by the tokens, and a skip.

    More axes of tensors: E inner channels and S states of each.
    """

    def __init__(self, width: int, *, state: int, dt_rank: int, conv_width: int) -> None:
        super().__init__()
        self.parts = (dt_rank, state, state)
        self.conv1d = nn.Conv1d(width, width, conv_width, padding=conv_width - 1, groups=width)
        self.act = nn.SiLU()
        self.x_proj = nn.Linear(width, sum(self.parts), bias=False)
        self.dt_proj = nn.Linear(dt_rank, width)
        self.dt_act = nn.Softplus()
        rates_S = torch.arange(1, state + 1, dtype=torch.get_default_dtype())
        self.A_log = nn.Parameter(rates_S.log().repeat(width, 1))
        self.D = nn.Parameter(torch.ones(width))
        low, high = map(log, STEPS)
        steps_E = torch.exp(torch.rand(width) * (high - low) + low)
        with torch.no_grad():  # softplus of the bias is the step
            self.dt_proj.bias.copy_(steps_E + torch.log(-torch.expm1(-steps_E)))

    def forward(self, x_BNE: Tensor) -> Tensor:
        N = x_BNE.shape[1]
        x_BEN = self.conv1d(x_BNE.transpose(1, 2))
        x_BNE = self.act(x_BEN[..., :N]).transpose(1, 2)
        del x_BEN
        dt, b_BNS, c_BNS = self.x_proj(x_BNE).split(self.parts, dim=-1)
        dt = self.dt_act(exact(self.dt_proj(dt)))
        x_BNE = exact(x_BNE)
        h_BNES = self._states(x_BNE, dt, exact(b_BNS), exact(self.A_log))
        y_BNE = (h_BNES * exact(c_BNS).unsqueeze(2)).sum(-1)
        return (y_BNE + x_BNE * self.D).to(self.D.dtype)

    def _states(self, x_BNE: Tensor, dt_BNE: Tensor, b_BNS: Tensor, log_ES: Tensor) -> Tensor:
        """Return the states of all tokens: (B, N, E, S)."""
        rates_ES = log_ES.exp() * -1
        decay_BNES = (dt_BNE.unsqueeze(-1) * rates_ES).exp()
        steps_BNE1 = (dt_BNE * x_BNE).unsqueeze(-1)
        return scan(decay_BNES, steps_BNE1 * b_BNS.unsqueeze(2))


class Mamba(nn.Module):
    """Selective state spaces, scanned in both directions or one, and gated."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        expand: int = 2,
        state: int = 16,
        dt_rank: int = 4,
        conv_width: int = 4,
        causal: bool = False,
    ) -> None:
        super().__init__()
        width = expand * dim
        self.in_proj = nn.Linear(dim, 2 * width, bias=False)
        self.ahead = SelectiveScan(width, state=state, dt_rank=dt_rank, conv_width=conv_width)
        self.behind = None
        if not causal:
            self.behind = SelectiveScan(width, state=state, dt_rank=dt_rank, conv_width=conv_width)
        self.act = nn.SiLU()
        self.out_proj = nn.Linear(width, dim, bias=False)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BNE, z_BNE = self.in_proj(x_BND).chunk(2, dim=-1)
        y_BNE = self.ahead(x_BNE)
        if self.behind is not None:
            behind_BNE = self.behind(x_BNE.flip(1)).flip(1)
            y_BNE = (y_BNE + behind_BNE) * 0.5
        gated_BNE = y_BNE * self.act(z_BNE)
        return self.out_proj(gated_BNE)


def scan(decay: Tensor, inputs: Tensor) -> Tensor:
    """Return h[n] = decay[n] h[n - 1] + inputs[n] along the second axis, from h[-1] = 0."""
    decays, steps = decay.unbind(1), inputs.unbind(1)
    state = steps[0].new_zeros(steps[0].shape)
    states = []
    for fade, step in zip(decays, steps, strict=True):
        state = fade * state + step
        states.append(state)
    return torch.stack(states, 1)
