"""Channel mix of Vision-RWKV; `vitprof.formulas.mixers.channel_mix` gives the equations."""

from __future__ import annotations

from torch import Tensor, nn

from vitprof.modules.parts.shift import mixed, mixes


class ChannelMix(nn.Module):
    """An MLP with squared ReLU and a gate, on channels that the q-shift moved."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        channel_ratio: int = 4,
        q_shift: bool = True,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.key = nn.Linear(dim, channel_ratio * dim, bias=False)
        self.act = nn.ReLU()
        self.receptance = nn.Linear(dim, dim, bias=False)
        self.gate = nn.Sigmoid()
        self.value = nn.Linear(channel_ratio * dim, dim, bias=False)
        if q_shift:
            self.mix_k, self.mix_r = mixes(dim, 2)

    def forward(self, x_BND: Tensor) -> Tensor:
        k, r_BND = (x_BND, x_BND)
        if self.grid is not None:
            k, r_BND = mixed(x_BND, self.grid, (self.mix_k, self.mix_r))
        k = self.key(k)
        k = self.act(k).square()
        r_BND = self.gate(self.receptance(r_BND))
        return r_BND * self.value(k)
