"""One encoder layer alone, at a given number of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vitprof.formulas.block import Block
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.model import (
    Model,
    activation_option,
    check_blocks,
    dim_option,
    heads_option,
    hidden_width,
    mlp_ratio_option,
)
from vitprof.formulas.op import Inline, Shape
from vitprof.formulas.run import Run, T
from vitprof.formulas.size import Size
from vitprof.options import whole


@dataclass(frozen=True, kw_only=True)
class EncoderLayer(Model):
    """Norm, mixer, norm, MLP, with the classifier report's sizes as defaults."""

    name = "layer"
    summary = "one encoder layer: norm, mixer, norm, MLP"
    source = "Dosovitskiy et al. 2020, An Image Is Worth 16x16 Words, eqs. 2 and 3"
    module = "vitprof.modules.block:EncoderLayer"

    tokens: int = whole(50, symbol="N", maximum=10_000_000, help="tokens of the bare layer")
    dim: int = dim_option(64, "a token")
    heads: int = heads_option(4, "the layer")
    mlp_ratio: Fraction = mlp_ratio_option("4")
    activation: str = activation_option("relu")

    def check(self) -> None:
        check_blocks("dim", self.dim, "heads", self.heads, self.mlp_ratio)

    def input(self, batch: Size) -> Shape:
        return (batch, self.size("tokens"), self.size("dim"))

    def forward(self, run: Run[T], x: T, batch: Size) -> T:
        sizes = MixerSizes(
            batch=batch,
            tokens=self.size("tokens"),
            dim=self.size("dim"),
            heads=self.size("heads"),
        )
        hidden = hidden_width(self.dim, self.mlp_ratio)
        block = Block(sizes=sizes, mixer=self.mixer, hidden=hidden, activation=self.activation)
        return block.forward(run, x)

    def loss(self, run: Run[T], y: T, batch: Size) -> T:
        return run(Inline("loss", "mean", self.input(batch)), y)
