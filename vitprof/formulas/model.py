"""What a model is: its options, its formula, and where its torch module lives."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

from vitprof.errors import SpecError
from vitprof.formulas.block import ACTIVATIONS, Block, hidden_width
from vitprof.formulas.layer import Layer
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers.attention import Attention
from vitprof.formulas.op import Shape
from vitprof.formulas.run import Run, T, count
from vitprof.formulas.size import ONE, Size
from vitprof.options import Options, Value, check_divides, choice, ratio, whole


def dim_option(default: int, of: str, symbol: str = "D") -> Any:
    """Declare a width."""
    return whole(default, symbol=symbol, help=f"channels of {of}")


def depth_option(default: int, of: str, symbol: str = "depth") -> Any:
    """Declare a number of blocks."""
    return whole(default, symbol=symbol, maximum=10_000, help=f"blocks of {of}")


def heads_option(default: int, of: str) -> Any:
    """Declare a number of heads."""
    return whole(default, symbol="heads", help=f"heads of the mixers of {of}")


def image_size_option(default: int) -> Any:
    """Declare the side of a square image."""
    return whole(default, symbol="image", help="side of the square image in pixels")


def patch_size_option(default: int) -> Any:
    """Declare the side of a square patch."""
    return whole(default, symbol="patch", help="side of a square patch in pixels")


def channels_option(default: int) -> Any:
    """Declare the channels of an image."""
    return whole(default, symbol="channels", help="channels of the image")


def mlp_ratio_option(default: str) -> Any:
    """Declare how much wider the MLP is than a token."""
    return ratio(default, minimum="0.001", below="1000", help="width of the MLP over the dim")


def activation_option(default: str) -> Any:
    """Declare the MLP's activation."""
    return choice(default, names=tuple(ACTIVATIONS), help="activation of the MLP")


@dataclass(frozen=True, kw_only=True)
class Model(Options):
    """A model that a token mixer is put into.

    Attributes:
        name: what it is called by.
        summary: one line that says what it is.
        source: where it comes from.
        module: `package.module:Class` of the torch module, constructed from the
            model and imported when a running one is asked for.
        mixer: the token mixer of every block, with its options.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    module: ClassVar[str]

    mixer: Mixer = field(default_factory=Attention)

    def check(self) -> None:
        for block in self.blocks(ONE):
            self.mixer.admit(block.sizes)

    @abstractmethod
    def input(self, batch: Size) -> Shape:
        """Shape of the tensor that the torch module takes."""

    @abstractmethod
    def blocks(self, batch: Size) -> tuple[Block, ...]:
        """The block of each stage, encoder or decoder."""

    @abstractmethod
    def forward(self, run: Run[T], x: T, batch: Size) -> T:
        """Run the model's ops on `batch` images, in the order and with the variables of
        the torch module, and return what it returns first."""

    @abstractmethod
    def loss(self, run: Run[T], y: T, batch: Size) -> T:
        """Run what a training step makes of the model's output."""

    def formula(self, batch: int = 1) -> Layer:
        """The whole model's ops on `batch` images, paths as in the torch module."""
        name = self.module.partition(":")[2]
        return count("", name, lambda run, x: self.forward(run, x, Size(batch, "B")))

    def input_shape(self, batch: int = 1) -> tuple[int, ...]:
        """Shape of the tensor that the torch module takes, as numbers."""
        return tuple(size.value for size in self.input(Size(batch, "B")))

    def conditions(self) -> dict[str, Value]:
        """Every choice that a count depends on: model, mixer and their options."""
        return {
            "model": self.name,
            "mixer": self.mixer.name,
            **self.values(),
            **self.mixer.values(),
        }


def check_blocks(dim_name: str, dim: int, heads_name: str, heads: int, mlp_ratio: Fraction) -> None:
    """Raise SpecError unless the heads share out the channels and the MLP has any."""
    check_divides(dim_name, dim, heads_name, heads)
    if hidden_width(dim, mlp_ratio) < 1:
        raise SpecError(
            f"mlp ratio {float(mlp_ratio)} leaves the MLP no channel of {dim}; "
            f"give a ratio of at least 1/{dim}"
        )
