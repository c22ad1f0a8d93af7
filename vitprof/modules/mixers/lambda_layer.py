"""Lambda layer; `vitprof.formulas.mixers.lambda_layer` gives the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul


class LambdaLayer(nn.Module):
    """Lambda layer, with local positions on an N x 1 map or on a grid, or global positions."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        key_depth: int = 16,
        receptive_field: int = 9,
        positions: str = "local",
        intra_depth: int = 1,
        qkv_bias: bool = True,
        grid: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.heads = heads
        self.key_depth = key_depth
        self.value_depth = dim // heads
        self.intra_depth = intra_depth
        self.positions = positions
        self.grid = grid
        self.widths = (heads * key_depth, key_depth * intra_depth, self.value_depth * intra_depth)
        self.qkv = nn.Linear(dim, sum(self.widths), bias=qkv_bias)
        self.norm_q = nn.BatchNorm1d(heads * key_depth)
        self.norm_v = nn.BatchNorm1d(self.value_depth * intra_depth)
        self.softmax = nn.Softmax(dim=1)
        self.content_lambda = MatMul()
        self.content_output = MatMul()
        if positions in ("local", "local-2d"):
            self.position_lambdas: nn.Module = nn.Conv3d(
                intra_depth,
                key_depth,
                (receptive_field, receptive_field, 1),
                padding=(receptive_field // 2, receptive_field // 2, 0),
            )
        else:
            rows, columns = grid
            span = (2 * rows - 1) * (2 * columns - 1)
            self.embeddings = nn.Parameter(torch.zeros(span, key_depth, intra_depth))
            nn.init.normal_(self.embeddings, std=0.02)
            self.position_lambdas = MatMul()
        self.position_output = MatMul()

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, K, V, U = self.heads, self.key_depth, self.value_depth, self.intra_depth
        q_BND, k_BND, v_BND = self.qkv(x_BND).split(self.widths, dim=-1)
        q_BNHK = self.norm_q(q_BND.flatten(0, 1)).reshape(B, N, H, K)
        v_BND = self.norm_v(v_BND.flatten(0, 1)).reshape(B, N, U * V)
        # The U keys and values of a token are rows, as those of other tokens are.
        content_BKV = self.content_lambda(
            self.softmax(k_BND).reshape(B, N * U, K).transpose(1, 2), v_BND.reshape(B, N * U, V)
        )
        # Every head reads the same lambdas, so the heads are rows of one product.
        content_BNHV = self.content_output(q_BNHK.reshape(B, N * H, K), content_BKV)
        v_BNUV = v_BND.reshape(B, N, U, V)
        if self.positions == "local":
            v_BUN1V = v_BNUV.transpose(1, 2).unsqueeze(3)
            position_BKNV = self.position_lambdas(v_BUN1V).squeeze(3)
            position_BNKV = position_BKNV.transpose(1, 2)
        elif self.positions == "local-2d":
            v_BURCV = v_BNUV.transpose(1, 2).unflatten(2, self.grid)
            position_BKNV = self.position_lambdas(v_BURCV).flatten(2, 3)
            position_BNKV = position_BKNV.transpose(1, 2)
        else:
            # Every image reads the same embeddings, so the images are columns of one product.
            position = self.position_lambdas(
                self.embeddings_of_each(), v_BNUV.flip(1).permute(1, 2, 0, 3).reshape(N * U, B * V)
            )
            position_BNKV = position.reshape(N, K, B, V).permute(2, 0, 1, 3)
        position_BNHV = self.position_output(q_BNHK, position_BNKV)
        return (content_BNHV.reshape(B, N, H, V) + position_BNHV).reshape(B, N, D)

    def embeddings_of_each(self) -> Tensor:
        """Return each token's window of the table, (N K, N U), with the tokens m in reverse order.

        The relative row of n and m is at (rows - 1) + (row of n - row of m). If m runs
        backward, these are consecutive rows that start at `row of n`, and likewise for columns:
        a window of the table, which needs no gather.
        """
        (rows, columns), K, U = self.grid, self.key_depth, self.intra_depth
        table = self.embeddings.reshape(2 * rows - 1, 2 * columns - 1, K, U)
        windows = table.unfold(0, rows, 1).unfold(1, columns, 1)
        windows = windows.permute(0, 1, 2, 4, 5, 3)
        # A copy even for one token: FlopCounterMode fails on a view of a frozen parameter.
        copied = windows.clone(memory_format=torch.contiguous_format)
        return copied.view(rows * columns * K, rows * columns * U)
