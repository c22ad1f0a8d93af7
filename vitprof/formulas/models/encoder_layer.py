"""A single encoder layer, at a given number of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import isqrt

from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.model import Model, dim_option, heads_option
from vitprof.formulas.op import Shape
from vitprof.formulas.parts.mlps import activation_option
from vitprof.formulas.run import Run
from vitprof.formulas.stage import Stage
from vitprof.formulas.tensor import Tensor
from vitprof.values.derived import derived
from vitprof.values.options import Constraint, whole
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class EncoderLayer(Model):
    """A single encoder layer; the default sizes are those of the classifier."""

    name = "layer"
    summary = "one encoder layer: norm, mixer, norm, MLP"
    source = "Dosovitskiy et al. 2020, An Image Is Worth 16x16 Words, eqs. 2 and 3"
    module = "vitprof.modules.block:EncoderLayer"
    task = ("tokens",)

    tokens: int = whole(
        50,
        symbol="N",
        maximum=10_000_000,
        help="tokens of the encoder layer",
        grows=65_536,
        unit="tokens",
    )
    dim: int = dim_option(64, "a token")
    heads: int = heads_option(4, "the layer")
    activation: str = activation_option("relu")

    def constraints(self) -> Iterator[Constraint]:
        yield from self.fits("dim", self.dim, "heads", self.heads, self.mlp_hidden)
        yield from super().constraints()

    @derived
    def grid(self) -> tuple[Size, Size] | None:
        """Rows and columns if the number of tokens is a square, else None."""
        side = isqrt(self.tokens)
        return (Size(side, "rows"), Size(side, "columns")) if side**2 == self.tokens else None

    def input(self, batch: Size) -> Shape:
        return (batch, self.size("tokens"), self.size("dim"))

    @derived
    def stages(self) -> tuple[Stage]:
        sizes = MixerSizes(
            tokens=self.size("tokens"),
            dim=self.size("dim"),
            heads=self.size("heads"),
            grid=self.grid,
            scattered=f"{self.tokens} tokens are not a square",
        )
        return (self.stage("", ONE, sizes, mlp_hidden=self.mlp_hidden),)

    def forward(self, run: Run, x: Tensor) -> Tensor:
        return run.block(partial(self._forward, run), x)

    def _forward(self, run: Run, x: Tensor) -> Tensor:
        (stage,) = self.stages
        (kind,) = stage.kinds
        return kind.block.arrange(run, x, *stage.shared(run).get(kind.shared, ()))

    def loss(self, run: Run, y: Tensor) -> Tensor:
        return run.mean_of_all("loss", y)
