"""Local patch interaction; `vitprof.formulas.parts.patch_interaction` gives its equation."""

from __future__ import annotations

from torch import Tensor, nn

from vitprof.modules.parts.activations import ACTIVATIONS


class PatchInteraction(nn.Module):
    """Two depthwise 3 x 3 convolutions, an activation and BatchNorm between, on a grid."""

    def __init__(self, dim: int, grid: tuple[int, int], activation: str) -> None:
        super().__init__()
        self.grid = grid
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.act = ACTIVATIONS[activation]()
        self.norm = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        z_BDRC = self.conv1(x_BND.transpose(1, 2).unflatten(2, self.grid))
        z_BDRC = self.act(z_BDRC)
        z_BDRC = self.norm(z_BDRC)
        return self.conv2(z_BDRC).flatten(2).transpose(1, 2)
