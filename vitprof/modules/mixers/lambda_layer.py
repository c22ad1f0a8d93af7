"""Lambda layer; the equations stand in `vitprof.formulas.mixers.lambda_layer`."""

from __future__ import annotations

from torch import Tensor, nn

from vitprof.modules.matmul import MatMul


class LambdaLayer(nn.Module):
    """Lambda layer with local positions on the tokens as an N x 1 map."""

    def __init__(
        self, dim: int, heads: int, *, key_depth: int = 16, receptive_field: int = 9
    ) -> None:
        super().__init__()
        self.heads = heads
        self.key_depth = key_depth
        self.value_depth = dim // heads
        self.widths = (heads * key_depth, key_depth, self.value_depth)
        self.qkv = nn.Linear(dim, sum(self.widths))
        self.norm_q = nn.BatchNorm1d(heads * key_depth)
        self.norm_v = nn.BatchNorm1d(self.value_depth)
        self.softmax = nn.Softmax(dim=1)
        self.content_lambda = MatMul()
        self.content_output = MatMul()
        self.position_lambdas = nn.Conv3d(
            1,
            key_depth,
            (receptive_field, receptive_field, 1),
            padding=(receptive_field // 2, receptive_field // 2, 0),
        )
        self.position_output = MatMul()

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, K, V = self.heads, self.key_depth, self.value_depth
        q_BND, k_BNK, v_BNV = self.qkv(x_BND).split(self.widths, dim=-1)
        q_BNHK = self.norm_q(q_BND.flatten(0, 1)).reshape(B, N, H, K)
        v_BNV = self.norm_v(v_BNV.flatten(0, 1)).reshape(B, N, V)
        content_BKV = self.content_lambda(self.softmax(k_BNK).transpose(1, 2), v_BNV)
        # Every head reads the same lambdas, so the heads are rows of one product.
        content_BNHV = self.content_output(q_BNHK.reshape(B, N * H, K), content_BKV)
        position_BKNV = self.position_lambdas(v_BNV.reshape(B, 1, N, 1, V)).squeeze(3)
        position_BNHV = self.position_output(q_BNHK, position_BKNV.transpose(1, 2))
        return (content_BNHV.reshape(B, N, H, V) + position_BNHV).reshape(B, N, D)
