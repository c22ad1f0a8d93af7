"""One encoder layer alone, at a given number of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vitprof.formulas.block import block
from vitprof.formulas.layer import Layer
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

    def formula(self, batch: int = 1) -> Layer:
        sizes = MixerSizes(
            batch=Size(batch, "B"),
            tokens=self.size("tokens"),
            dim=self.size("dim"),
            heads=self.size("heads"),
        )
        hidden = hidden_width(self.dim, self.mlp_ratio)
        return block(
            "",
            sizes,
            mixer=self.mixer,
            hidden=hidden,
            activation=self.activation,
            type="EncoderLayer",
        )

    def input_shape(self, batch: int = 1) -> tuple[int, ...]:
        return (batch, self.tokens, self.dim)
