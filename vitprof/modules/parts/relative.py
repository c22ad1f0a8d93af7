"""Relative position bias; `vitprof.formulas.parts.relative` gives its equations.

More axes of tensors: L offsets of two patches, S places along a side of the grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitprof.modules.matmul import MatMul


class BiasTable(nn.Module):
    """A learned bias of each head for each offset: (H, N, N)."""

    index: Tensor

    def __init__(self, heads: int, grid: tuple[int, int], prefix: int) -> None:
        super().__init__()
        entries = number_of_offsets(grid) + (3 if prefix else 0)
        self.table = nn.Parameter(torch.empty(entries, heads))
        nn.init.normal_(self.table, std=0.02)
        last = number_of_offsets(grid)
        others = (last, last + 1, last + 2)
        self.register_buffer("index", offset_index(grid, prefix, others), persistent=False)

    def forward(self) -> Tensor:
        return self.table[self.index].permute(2, 0, 1).contiguous()


class BiasMlp(nn.Module):
    """A bias of each head by an MLP of the logarithms of the offset: (H, N, N)."""

    index: Tensor
    offsets: Tensor
    zero: Tensor

    def __init__(self, heads: int, grid: tuple[int, int], prefix: int, hidden: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.fc1 = nn.Linear(2, hidden)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(hidden, heads)
        self.register_buffer("offsets", log_offsets(grid), persistent=False)
        if prefix:
            self.register_buffer("zero", torch.zeros(1, heads), persistent=False)
        others = (number_of_offsets(grid),) * 3
        self.register_buffer("index", offset_index(grid, prefix, others), persistent=False)

    def forward(self) -> Tensor:
        table_LH = self.fc2(self.act(self.fc1(self.offsets)))
        if self.prefix:
            table_LH = torch.cat([table_LH, self.zero], dim=0)
        return table_LH[self.index].permute(2, 0, 1).contiguous()


class BoundedBiasMlp(nn.Module):
    """A bias between 0 and 16 of each head by an MLP of the logarithms of the offset: (H, N, N)."""

    index: Tensor
    offsets: Tensor

    def __init__(self, heads: int, grid: tuple[int, int], hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2, hidden)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(hidden, heads, bias=False)
        self.gate = nn.Sigmoid()
        self.register_buffer("offsets", log_offsets(grid), persistent=False)
        self.register_buffer("index", offset_index(grid, 0, (0, 0, 0)), persistent=False)

    def forward(self) -> Tensor:
        table_LH = self.fc2(self.act(self.fc1(self.offsets)))
        return self.gate(table_LH[self.index].permute(2, 0, 1).contiguous()) * 16


class DecomposedBias(nn.Module):
    """A bias by the query and the offsets of rows and of columns: (..., N, ..., C) to (..., N).

    Args:
        head_dim: channels of a query.
        grid: rows and columns of patches.
        axis: axis of the tokens.
        prefix: number of tokens before the patches.
    """

    row_index: Tensor
    column_index: Tensor

    def __init__(self, head_dim: int, grid: tuple[int, int], *, axis: int, prefix: int = 0) -> None:
        super().__init__()
        self.grid, self.axis, self.prefix = grid, axis, prefix
        for name, side in zip(("row", "column"), grid, strict=True):
            at = torch.arange(side)
            index_SS = at[:, None] - at + side - 1
            self.register_buffer(f"{name}_index", index_SS, persistent=False)
        self.row_table, self.column_table = (
            nn.Parameter(torch.empty(2 * side - 1, head_dim)) for side in grid
        )
        nn.init.normal_(self.row_table, std=0.02)
        nn.init.normal_(self.column_table, std=0.02)
        self.by_row, self.by_column = MatMul(), MatMul()

    def forward(self, q: Tensor) -> Tensor:
        axis, before = self.axis, self.prefix
        if before:
            q = q.narrow(axis, before, q.shape[axis] - before)
        shape = (*q.shape[:-1], q.shape[axis])
        q = q.reshape(*q.shape[:axis], *self.grid, *q.shape[axis + 1 :])
        by_row = _by_offsets(self.by_row, q, axis, self.row_table, self.row_index)
        by_row = by_row.contiguous()
        by_column = _by_offsets(self.by_column, q, axis + 1, self.column_table, self.column_index)
        bias = (by_row.unsqueeze(-1) + by_column.unsqueeze(-2)).reshape(shape)
        if before:
            behind = len(shape) - 2 - axis  # axes between queries and keys
            bias = F.pad(bias, (before, 0, *(0, 0) * behind, before, 0))
        return bias


def _by_offsets(
    product: nn.Module, q: Tensor, axis: int, table_LC: Tensor, index_SS: Tensor
) -> Tensor:
    """Multiply queries with the vectors of their offsets along an axis: (..., C) to (..., S)."""
    vectors_SSC = table_LC[index_SS]
    places = [*range(q.ndim)]
    first = [axis, *places[:axis], *places[axis + 1 :]]
    q = q.permute(first)
    S, *others, C = q.shape
    y = product(q.reshape(S, -1, C), vectors_SSC.transpose(-2, -1))
    return y.reshape(S, *others, S).permute([first.index(place) for place in places])


def number_of_offsets(grid: tuple[int, int]) -> int:
    """Return the number of offsets of two patches of a grid."""
    rows, columns = grid
    return (2 * rows - 1) * (2 * columns - 1)


def log_offsets(grid: tuple[int, int]) -> Tensor:
    """Return sign(o) log(1 + |o|) of the rows and columns o of each offset, (L, 2)."""
    sides = [torch.arange(1 - side, side, dtype=torch.get_default_dtype()) for side in grid]
    offsets_L2 = torch.stack(torch.meshgrid(*sides, indexing="ij"), dim=-1).reshape(-1, 2)
    return offsets_L2.sign() * offsets_L2.abs().log1p()


def offset_index(grid: tuple[int, int], prefix: int, others: tuple[int, int, int]) -> Tensor:
    """Return the number of the offset of each pair of tokens, (N, N).

    Args:
        grid: rows and columns of patches.
        prefix: number of prefix tokens.
        others: numbers for a prefix token with a patch, a patch with a prefix token, and two
            prefix tokens.
    """
    rows, columns = (torch.arange(side) for side in grid)
    down = rows[:, None] - rows + grid[0] - 1
    along = columns[:, None] - columns + grid[1] - 1
    index = down[:, None, :, None] * (2 * grid[1] - 1) + along[None, :, None, :]
    index = F.pad(index.reshape(len(rows) * len(columns), -1), (prefix, 0, prefix, 0))
    index[:prefix], index[prefix:, :prefix], index[:prefix, :prefix] = others
    return index
