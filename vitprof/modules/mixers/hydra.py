"""Hydra attention; `vitprof.formulas.mixers.hydra` gives the equations."""

from __future__ import annotations

from torch import Tensor, nn

from vitprof.modules.parts.norms import normalised


class Hydra(nn.Module):
    """Hydra attention: as many heads as channels, with cosine similarity; `heads` has no effect."""

    def __init__(
        self, dim: int, heads: int, *, qkv_bias: bool = True, proj_bias: bool = True
    ) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        q_BND, k_BND, v_BND = self.qkv(x_BND).chunk(3, dim=-1)
        q_BND = normalised(q_BND)
        k_BND = normalised(k_BND)
        sum_B1D = (k_BND * v_BND).sum(dim=1, keepdim=True)
        return self.fc_out(q_BND * sum_B1D)
