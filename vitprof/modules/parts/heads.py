"""Attention pooling and what is before a head; `vitprof.formulas.parts.heads` has the equations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vitprof.formulas.parts.heads import HeadOptions, LogitOptions
from vitprof.modules.fused import FusedAttention
from vitprof.modules.matmul import MatMul
from vitprof.modules.parts.activations import ACTIVATIONS
from vitprof.modules.parts.mlps import make_mlp
from vitprof.modules.parts.norms import make_norm


class AttentionPool(nn.Module):
    """One learned query that attends to all tokens, and an MLP on what it finds."""

    def __init__(self, options: HeadOptions, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.fused = options.pool_fused
        self.latent = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.normal_(self.latent, std=dim**-0.5)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        if self.fused:
            self.attend = FusedAttention()
        else:
            self.scores = MatMul()
            self.weights = nn.Softmax(dim=-1)
            self.output = MatMul()
        self.proj = nn.Linear(dim, dim)
        self.has_mlp = options.mlp != "none"
        if self.has_mlp:
            self.norm = make_norm(options, dim)
            self.mlp = make_mlp(options, dim, hidden)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        H, C = self.heads, D // self.heads
        # A copy: FlopCounterMode fails on a view of a parameter if gradients are off.
        latent_B1D = self.latent.expand(B, -1, -1).clone(memory_format=torch.contiguous_format)
        q_BH1C = self.q(latent_B1D).reshape(B, 1, H, C).transpose(1, 2)
        k_BHNC, v_BHNC = self.kv(x_BND).reshape(B, N, 2, H, C).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y_BH1C = self.attend(q_BH1C, k_BHNC, v_BHNC)
        else:
            a_BH1N = self.weights(self.scores(q_BH1C * C**-0.5, k_BHNC.transpose(-2, -1)))
            y_BH1C = self.output(a_BH1N, v_BHNC)
        y_B1D = self.proj(y_BH1C.transpose(1, 2).reshape(B, 1, D))
        if self.has_mlp:
            z_B1D = self.norm(y_B1D)
            y_B1D = y_B1D + self.mlp(z_B1D)
        return y_B1D[:, 0]


class WithLogits(nn.Module):
    """Base class of models with a head, before which there can be a layer and what follows it."""

    before_head: tuple[str, ...] = ()  # names of these submodules, in order

    def make_before_head(
        self, options: LogitOptions, dim: int, norm: Callable[[int], nn.Module]
    ) -> int:
        """Add the submodules before the head, and return the width that the head reads.

        Args:
            options: the head's options.
            dim: channels of what the pooling returns.
            norm: makes a norm after the last block.
        """
        width = options.head_hidden
        if not (options.head and width):
            return dim
        layers: dict[str, nn.Module] = {"pre_logits": nn.Linear(dim, width)}
        if options.pre_logits == "tanh":
            layers["head_act"] = nn.Tanh()
        else:
            layers["head_act"] = ACTIVATIONS[options.pre_logits]()
            layers["hidden_norm"] = norm(width)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.before_head = tuple(layers)
        return width

    def run_before_head(self, x: Tensor) -> Tensor:
        """Run the submodules before the head."""
        for name in self.before_head:
            x = self.get_submodule(name)(x)
        return x
