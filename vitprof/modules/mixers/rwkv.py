"""Spatial mix of Vision-RWKV; `vitprof.formulas.mixers.rwkv` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.fourier import exact
from vitprof.modules.parts.shift import mixed, mixes


class Rwkv(nn.Module):
    """Bi-WKV attention with q-shift: values weighted by keys and by the distance in tokens."""

    positions: Tensor

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        tokens: int,
        q_shift: bool = True,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.grid = grid
        at = torch.arange(tokens, dtype=torch.get_default_dtype())[:, None] / tokens
        self.register_buffer("positions", at, persistent=False)
        self.receptance = nn.Linear(dim, dim, bias=False)
        self.act = nn.Sigmoid()
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        if q_shift:
            self.mix_r, self.mix_k, self.mix_v = mixes(dim, 3)
        # Decays from -5 to 3, and as in the paper's first layer.
        share = torch.linspace(0, 1, dim) if dim > 1 else torch.zeros(dim)
        self.decay = nn.Parameter(8 * share**0.7 - 5)
        self.first = nn.Parameter((torch.arange(dim) % 3 - 1) * 0.5 - 1.2)

    def forward(self, x_BND: Tensor) -> Tensor:
        r_BND, k_BND, v_BND = (x_BND, x_BND, x_BND)
        if self.grid is not None:
            shares = (self.mix_r, self.mix_k, self.mix_v)
            r_BND, k_BND, v_BND = mixed(x_BND, self.grid, shares)
        r_BND = self.act(self.receptance(r_BND))
        k_BND = exact(self.key(k_BND))
        v_BND = self.value(v_BND)
        y_BND = self._wkv(k_BND, v_BND).to(self.positions.dtype)
        return self.output(r_BND * y_BND)

    def _wkv(self, k_BND: Tensor, v_BND: Tensor) -> Tensor:
        """Return the weighted mean of the values."""
        growth_ND = (self.positions * self.decay).exp()
        bonus_D = self.first - self.decay
        bonus_D = (bonus_D * (1 / self.tokens)).exp()
        bonus_D = bonus_D - 2
        highest_B1D = k_BND.detach().amax(1, keepdim=True)
        e_BND = (k_BND - highest_B1D).exp()
        above_BND = _sums(e_BND * v_BND, growth_ND, bonus_D)
        return above_BND / _sums(e_BND, growth_ND, bonus_D)


def _sums(e_BND: Tensor, growth_ND: Tensor, bonus_D: Tensor) -> Tensor:
    """Return the sums over all tokens, those before and after each faded by their distance."""
    ahead_BND = (e_BND * growth_ND).cumsum(1)
    ahead_BND = ahead_BND / growth_ND
    behind_BND = (e_BND / growth_ND).flip(1)
    behind_BND = behind_BND.cumsum(1).flip(1)
    both_BND = ahead_BND + behind_BND * growth_ND
    return both_BND + e_BND * bonus_D
