"""Linformer; `vitprof.formulas.mixers.linformer` gives the equations."""

from __future__ import annotations

from torch import Tensor, nn

from vitprof.modules.matmul import MatMul


class Linformer(nn.Module):
    """Softmax attention to P linear combinations of the tokens, the same for all heads."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        tokens: int,
        projection: int = 64,
        shared: bool = False,
        qkv_bias: bool = True,
        proj_bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.shared = shared
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        if shared:
            self.project = nn.Linear(tokens, projection, bias=False)
        else:
            self.project_k = nn.Linear(tokens, projection, bias=False)
            self.project_v = nn.Linear(tokens, projection, bias=False)
        self.scores = MatMul()
        self.weights = nn.Softmax(dim=-1)
        self.output = MatMul()
        self.fc_out = nn.Linear(dim, dim, bias=proj_bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        heads = (self.heads, D // self.heads)
        if self.shared:
            q_BND, kv_BND = self.qkv(x_BND).split((D, 2 * D), dim=-1)
            kv_BDP = self.project(kv_BND.transpose(1, 2).contiguous())
            k_BDP, v_BDP = kv_BDP.chunk(2, dim=1)
        else:
            q_BND, k_BND, v_BND = self.qkv(x_BND).chunk(3, dim=-1)
            k_BDP = self.project_k(k_BND.transpose(1, 2).contiguous())
            v_BDP = self.project_v(v_BND.transpose(1, 2).contiguous())
        q_BHNC = q_BND.unflatten(2, heads).transpose(1, 2) * heads[1] ** -0.5
        a_BHNP = self.weights(self.scores(q_BHNC, k_BDP.unflatten(1, heads)))
        y_BHNC = self.output(a_BHNP, v_BDP.unflatten(1, heads).transpose(-2, -1))
        return self.fc_out(y_BHNC.transpose(1, 2).reshape(B, N, D))
