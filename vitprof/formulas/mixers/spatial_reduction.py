"""Spatial-reduction attention (Wang et al. 2021, Pyramid Vision Transformer, eqs. 1 to 3).

Q = X W_q + b                    N x D
X' = LN(conv(X))                 M x D, M = N / R²
K, V = X' W_kv + b               M x 2D
A = softmax(Q K^T / sqrt(d))     N x M for each of h heads, d = D / h
Y = (A V) W_out + b              N x D

`conv` is a convolution of R x R with stride R on the grid of the tokens; with R = 1 there is none,
and no norm. R can differ by stage: `--reduction 8,4,2,1`.

With `sra_pool`, P of it, keys and values are read from means of P x P regions of the grid (Wang et
al. 2021, PVTv2, section 3.1, linear spatial-reduction attention):

X' = GELU(LN(conv(pool(X))))     M x D, M = P², with a kernel of 1 x 1
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vitprof.formulas.mixer import Mixer, MixerSizes, on_grid
from vitprof.formulas.mixers.options import fused_option, proj_bias_option, qkv_bias_option
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, divides, needing, whole, wholes
from vitprof.values.size import Size, product


@dataclass(frozen=True, kw_only=True)
class SpatialReduction(Mixer):
    """Softmax attention to tokens of a coarser grid; with `fused`, one kernel for the products."""

    name = "sra"
    aliases = ("pvt",)
    summary = "spatial-reduction attention: every token attends to tokens of a coarser grid"
    source = "Wang et al. 2021, Pyramid Vision Transformer, eqs. 1 to 3"
    module = "vitprof.modules.mixers.spatial_reduction:SpatialReduction"

    reduction: tuple[int, ...] = needing(
        wholes(
            (2,),
            maximum=10_000,
            help="sra: tokens along a side that become one key and value, one number for each "
            "stage or for all",
        ),
        {"sra_pool": (0,)},
    )
    sra_pool: int = whole(
        0,
        minimum=0,
        maximum=10_000,
        help="sra: side of the square of means that keys and values are read from; 0 for a "
        "convolution by reduction",
    )
    fused: bool = fused_option()
    qkv_bias: bool = qkv_bias_option()
    proj_bias: bool = proj_bias_option()

    @property
    def needs_grid(self) -> bool:
        return self.sra_pool > 0 or max(self.reduction) > 1

    def constraints(self) -> Iterator[Constraint]:
        yield from super().constraints()
        yield Constraint(
            self.sra_pool != 1,
            lambda: (
                "sra pool 1 leaves one key, of which a softmax has nothing to choose; give 2 or "
                "more, or 0 for a convolution"
            ),
        )

    def admits(self, sizes: MixerSizes) -> Iterator[Constraint]:
        given = ",".join(map(str, self.reduction))
        yield Constraint(
            len(self.reduction) in (1, sizes.stages),
            lambda: (
                f"reduction {given} is of {len(self.reduction)} stages, and the model has "
                f"{sizes.stages}; give one number for each, or one for all"
            ),
        )
        if not self.reduces(sizes):
            return
        yield on_grid(self.name, sizes)
        assert sizes.grid is not None
        if not self.sra_pool:
            of = f" of stage {sizes.stage + 1}" if sizes.stages > 1 else ""
            for name, side in zip(("grid_rows", "grid_columns"), sizes.grid, strict=True):
                yield divides(name, side.value, "reduction", self.ratio(sizes), of=of)

    def ratio(self, sizes: MixerSizes) -> int:
        """Return R of the stage with these sizes."""
        return self.reduction[sizes.stage if len(self.reduction) > 1 else 0]

    def reduces(self, sizes: MixerSizes) -> bool:
        """Return True if keys and values are read from a coarser grid at these sizes."""
        return self.sra_pool > 0 or self.ratio(sizes) > 1

    def arguments(self, sizes: MixerSizes) -> dict[str, Any]:
        arguments = {**super().arguments(sizes), "reduction": self.ratio(sizes)}
        if self.reduces(sizes):
            assert sizes.grid is not None
            arguments["grid"] = tuple(side.value for side in sizes.grid)
        return arguments

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        (B, N, D), h, d = x.shape, sizes.heads, sizes.head_dim
        q = run.linear("q", x, D, bias=self.qkv_bias).reshape(B, N, h, d).transpose(1, 2)
        if self.reduces(sizes):
            x = self._coarser(run, x, sizes)
        kv = run.linear("kv", x, 2 * D, bias=self.qkv_bias).reshape(B, x.shape[1], 2, h, d)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = run.attention("attend", q, k, v)
        else:
            a = run.softmax("weights", run.matmul("scores", run.scale("scale", q), k.mT), -1)
            y = run.matmul("output", a, v)
        return run.linear("fc_out", y.transpose(1, 2).reshape(B, N, D), D, bias=self.proj_bias)

    def _coarser(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        """Return the tokens that keys and values are read from: (B, M, D)."""
        assert sizes.grid is not None
        (B, _, D), pooled = x.shape, self.sra_pool > 0
        x = x.transpose(1, 2).unflatten(2, sizes.grid)
        if pooled:
            P, side = Size(self.sra_pool, "P"), Size(1)
            coarser = (P, P)
            x = run.adaptive_pool("pool", x, coarser)
        else:
            side = Size(self.ratio(sizes), "R")
            rows, columns = sizes.grid
            coarser = (rows // side).named("key rows"), (columns // side).named("key columns")
        x = run.conv("reduce", x, D, (side, side), positions=coarser)
        M = product(coarser).named("keys")
        x = run.layer_norm("norm", x.reshape(B, D, M).transpose(1, 2))
        return run.activation("act", "gelu", x) if pooled else x
