"""What a model is: its options, its formula, and where its torch module lives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self

from vitprof.formulas.block import Block, BlockOptions
from vitprof.formulas.layer import Layer
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.attention import Attention
from vitprof.formulas.op import Shape
from vitprof.formulas.program import Program
from vitprof.formulas.run import Run, count
from vitprof.formulas.stage import Stage
from vitprof.formulas.tensor import Tensor
from vitprof.formulas.trace import trace
from vitprof.values.derived import derived
from vitprof.values.options import Constraint, Option, Value, whole
from vitprof.values.size import Size

if TYPE_CHECKING:
    import torch
    from torch import nn


def dim_option(default: int, of: str, symbol: str = "D", heads: str = "heads") -> Any:
    """Declare a width, which the option `heads` shares out."""
    return whole(default, symbol=symbol, help=f"channels of {of}", grows=4_096, multiple_of=heads)


def depth_option(default: int, of: str, symbol: str = "depth") -> Any:
    """Declare a number of blocks."""
    return whole(default, symbol=symbol, maximum=10_000, help=f"blocks of {of}", grows=1_024)


def heads_option(default: int, of: str) -> Any:
    """Declare a number of heads."""
    return whole(default, symbol="heads", help=f"heads of the mixers of {of}")


@dataclass(frozen=True, kw_only=True)
class Model(BlockOptions):
    """A model that a token mixer is put into.

    Attributes:
        name: what it is called by.
        summary: one line that says what it is.
        source: where it comes from.
        module: `package.module:Class` of the torch module, constructed from the
            model and imported when a running one is asked for.
        mixer: the token mixer of every block, with its options.
        preset: the published configuration that it was made from, if it was.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    module: ClassVar[str]

    mixer: Mixer = field(default_factory=Attention)
    preset: str = ""

    def constraints(self) -> Iterator[Constraint]:
        for stage in self.stages:
            yield from stage.block.mixer.admits(stage.block.sizes)

    def every_constraint(self) -> Iterator[Constraint]:
        """Yield the mixer's own rules, and then those of the model."""
        yield from self.mixer.constraints()
        yield from self.constraints()

    @property
    def variant(self) -> str:
        """What it is called among models that differ in their mixer."""
        return self.mixer.name

    @property
    def needs_grid(self) -> bool:
        """If it is defined only where its tokens are the patches of an image and no other."""
        return self.mixer.needs_grid

    def options(self) -> dict[str, Option]:
        """Every option of it, its own and the mixer's."""
        return {**self.declared(), **self.mixer.declared()}

    def at(self, values: Mapping[str, object]) -> Self:
        """A copy with other values of some options; those that it has not are no matter to it.

        Raises:
            SpecError: there is no such configuration.
        """
        own, mixers = self._shared_out(values)
        return replace(self, **own, mixer=replace(self.mixer, **mixers) if mixers else self.mixer)

    def placed(self, values: Mapping[str, object]) -> Self:
        """The same with arrays as values, or of what follows from some; see `substitute`."""
        own, mixers = self._shared_out(values)
        derived = {name: value for name, value in values.items() if name not in {**own, **mixers}}
        return self.substitute(**own, **derived, mixer=self.mixer.substitute(**mixers))

    def _shared_out(self, values: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The values of its own options, and of the mixer's."""
        own, mixers = self.declared(), self.mixer.declared()
        return (
            {name: value for name, value in values.items() if name in own},
            {name: value for name, value in values.items() if name in mixers},
        )

    @property
    def classifies(self) -> bool:
        """Whether it returns a logit for each class."""
        return False

    @abstractmethod
    def input(self, batch: Size) -> Shape:
        """Shape of the tensor that the torch module takes."""

    @derived
    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The stages of equal blocks, such as encoder and decoder."""

    def stage(self, name: str, depth: Size, sizes: MixerSizes) -> Stage:
        """A stage of this model's blocks at the given sizes."""
        return Stage(
            name=name, depth=depth, block=Block(sizes=sizes, mixer=self.mixer, options=self)
        )

    @abstractmethod
    def forward(self, run: Run, x: Tensor) -> Tensor:
        """Run the model's ops on its input, line by line and with the variables of the torch
        module, and return what it returns first."""

    @abstractmethod
    def loss(self, run: Run, y: Tensor) -> Tensor:
        """Run what a training step makes of the model's output."""

    def formula(self, batch: int = 1) -> Layer:
        """The whole model's ops on `batch` images, paths as in the torch module.

        Raises:
            FormulaError: two ops do not fit together.
        """
        shape, numbers = self.input(Size(batch, "B")), self.checked
        return count("", self._type, self.forward, shape, checked=numbers)

    def program(self, batch: int = 1) -> Program:
        """The forward pass on `batch` images and its loss, call by call.

        Raises:
            FormulaError: two ops do not fit together.
        """
        return trace(self._type, self.forward, self.loss, self.input(Size(batch, "B")))

    @property
    def _type(self) -> str:
        return self.module.partition(":")[2]

    def input_shape(self, batch: int = 1) -> tuple[int, ...]:
        """Shape of the tensor that the torch module takes, as numbers."""
        return tuple(size.value for size in self.input(Size(batch, "B")))

    def build(self, *, device: str, dtype: torch.dtype) -> nn.Module:
        """The torch module on a device; on `meta` it allocates nothing."""
        # By name, as `module` is: what is on paper knows nothing of what runs.
        module: nn.Module = import_module("vitprof.modules.build").build(
            self, device=device, dtype=dtype
        )
        return module

    def inputs(self, batch: int, *, device: str, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        """Random images, or tokens, for the torch module."""
        import torch

        return (torch.randn(self.input_shape(batch), device=device, dtype=dtype),)

    def conditions(self) -> dict[str, Value]:
        """Every choice that a count depends on: model, mixer and their options."""
        return {
            **({"preset": self.preset} if self.preset else {}),
            "model": self.name,
            "mixer": self.mixer.name,
            **self.values(),
            **self.mixer.values(),
        }
