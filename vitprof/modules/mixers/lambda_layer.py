"""Lambda layer; the equations stand in `vitprof.formulas.mixers.lambda_layer`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitprof.modules.matmul import MatMul


class LambdaLayer(nn.Module):
    """Lambda layer, its positions local on the tokens as an N x 1 map, or global on a grid."""

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
        if positions == "local":
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
        # The copies of a token's key and value are rows like those of other tokens.
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
        else:
            # Every image reads the same embeddings, so the images are columns of one product.
            position = self.position_lambdas(
                self.embeddings_of_each(), v_BNUV.flip(1).permute(1, 2, 0, 3).reshape(N * U, B * V)
            )
            position_BNKV = position.reshape(N, K, B, V).permute(2, 0, 1, 3)
        position_BNHV = self.position_output(q_BNHK, position_BNKV)
        return (content_BNHV.reshape(B, N, H, V) + position_BNHV).reshape(B, N, D)

    def embeddings_of_each(self) -> Tensor:
        """What each token sees of the table, as (N K, N U), from the last token to the first.

        The place (rows - 1) + (row of n - row of m) lies `row of n` after the first window's
        start if m runs backward; so tokens see windows of the table, and nothing is looked up.
        """
        (rows, columns), K, U = self.grid, self.key_depth, self.intra_depth
        table = self.embeddings.reshape(2 * rows - 1, 2 * columns - 1, K, U)
        windows = table.unfold(0, rows, 1).unfold(1, columns, 1)
        windows = windows.permute(0, 1, 2, 4, 5, 3)
        # Of a single token too: FlopCounterMode cannot take a parameter's view without gradients.
        copied = windows.clone(memory_format=torch.contiguous_format)
        return copied.view(rows * columns * K, rows * columns * U)
