"""Base class of models: options, formula and the reference to the torch module."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self

from vitprof.formulas.block import Block, BlockOptions
from vitprof.formulas.layer import Layer, Measure, join
from vitprof.formulas.mixer import BlockList, Mixer, MixerSizes
from vitprof.formulas.mixers.attention import Attention
from vitprof.formulas.op import Shape
from vitprof.formulas.plugins import check_can_be_found, name_of
from vitprof.formulas.program import Program
from vitprof.formulas.run import Run, count
from vitprof.formulas.stage import EqualBlocks, Stage
from vitprof.formulas.tensor import Tensor
from vitprof.formulas.trace import trace
from vitprof.values.derived import derived
from vitprof.values.options import Constraint, Option, Value, Whole, plain, whole
from vitprof.values.size import Size

if TYPE_CHECKING:
    import torch
    from torch import nn


def dim_option(default: int, of: str, symbol: str = "D", heads: str = "heads") -> Any:
    """Declare a width, which the option named `heads` has to divide."""
    return whole(default, symbol=symbol, help=f"channels of {of}", grows=4_096, multiple_of=heads)


def depth_option(default: int, of: str, symbol: str = "depth") -> Any:
    """Declare a number of blocks."""
    return whole(
        default,
        symbol=symbol,
        maximum=10_000,
        help=f"blocks of {of}",
        grows=1_024,
        convex=True,
    )


def heads_option(default: int, of: str) -> Any:
    """Declare a number of heads."""
    return whole(default, symbol="heads", help=f"heads of each mixer of {of}")


@dataclass(frozen=True, kw_only=True)
class Model(BlockOptions):
    """A model whose blocks have a token mixer.

    Attributes:
        name: its name on the command line and in `MODELS`.
        summary: description in one line.
        source: the paper.
        module: `package.module:Class` of the torch module, whose constructor takes the model;
            imported only to build it.
        task: names of the options that say what it reads and returns, which models that are
            compared at equal cost have in common.
        mixer: the token mixer of every block, with its options.
        preset: name of the published configuration that it comes from, or empty.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    module: ClassVar[str]
    task: ClassVar[tuple[str, ...]] = ()

    mixer: Mixer = field(default_factory=Attention)
    preset: str = ""

    def constraints(self) -> Iterator[Constraint]:
        lists = [BlockList(stage.path, stage.depth) for stage in self.stages]
        yield from self.mixer.fits(lists, self.name)
        for stage in self.stages:
            for kind in stage.kinds:
                yield from kind.block.admits()

    def every_constraint(self) -> Iterator[Constraint]:
        """Yield the rules of the mixer, then those of the model."""
        yield from self.mixer.constraints()
        yield from self.constraints()

    @property
    def variant(self) -> str:
        """Name in a comparison of models that differ in their mixer."""
        return self.mixer.name

    @property
    def needs_grid(self) -> bool:
        """True if its blocks need the patches of an image, with or without other tokens."""
        of_mixer = self.mixer.needs_grid or bool(self.mixer.needs_patches)
        return of_mixer or bool(self.part_on_grid)

    @property
    def divisor(self) -> int:
        """Number that has to divide the tokens, by the mixer."""
        return self.mixer.divisor

    def smoothness(self, measure: Measure) -> int:
        """Return the order up to which differences of a layer's count grow with the tokens."""
        return 2

    def same_as(self, other: object) -> bool:
        """Return True if another model has equal options, whatever preset either comes from."""
        return isinstance(other, Model) and replace(self, preset="") == replace(other, preset="")

    def scattered(self, option: str, tokens: int) -> Self:
        """Return a copy with a number of tokens that lie on no grid, without validation."""
        return self.substitute(grid=None, **{option: tokens})

    def options(self) -> dict[str, Option]:
        """Return the declarations of the model's and the mixer's options, by name."""
        own = self.declared()
        if self.mixer.turns:  # the cost of one more block is not always the same
            own = {
                name: replace(option, convex=False) if isinstance(option, Whole) else option
                for name, option in own.items()
            }
        return {**own, **self.mixer.declared()}

    def at(self, values: Mapping[str, object]) -> Self:
        """Return a copy with other values of some options; unknown names are ignored.

        Raises:
            SpecError: a value is not allowed, or two values do not fit.
        """
        own, mixers = self._split_values(values)
        return replace(self, **own, mixer=replace(self.mixer, **mixers) if mixers else self.mixer)

    def placed(self, values: Mapping[str, object]) -> Self:
        """Return a copy with arrays as options or derived properties; see `substitute`."""
        own, mixers = self._split_values(values)
        derived = {name: value for name, value in values.items() if name not in {**own, **mixers}}
        return self.substitute(**own, **derived, mixer=self.mixer.substitute(**mixers))

    def _split_values(self, values: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Split values into those of the model's own options and those of the mixer's."""
        own, mixers = self.declared(), self.mixer.declared()
        return (
            {name: value for name, value in values.items() if name in own},
            {name: value for name, value in values.items() if name in mixers},
        )

    @property
    def classifies(self) -> bool:
        """True if the model returns a logit per class."""
        return False

    @abstractmethod
    def input(self, batch: Size) -> Shape:
        """Return the shape of the torch module's input."""

    @derived
    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """Stages of equal blocks, such as encoder and decoder."""

    def stage(
        self, name: str, depth: Size, sizes: MixerSizes, *, mlp_hidden: int, within: str = ""
    ) -> Stage:
        """Return a stage of this model's blocks at the given sizes.

        Args:
            name: name of their module list; empty if the block is the model itself.
            depth: number of blocks.
            sizes: N, D and heads.
            mlp_hidden: hidden width that is given for their MLP; 0 if it follows from the dim.
            within: path of the module that has the list.
        """
        path = join(within, name)
        mixers = self.mixer.of_blocks(BlockList(path, depth), sizes)
        kinds = []
        shares = 0
        for mixer in {id(mixer): mixer for mixer in mixers}.values():
            shares += mixer.shares
            block = Block(sizes=sizes, mixer=mixer, options=self, given_hidden=mlp_hidden)
            kind = EqualBlocks(block=block, times=depth)
            if mixer.shares:
                kind.shared = f"shared{shares}" if shares > 1 else "shared"
            if any(other is not mixer for other in mixers):
                own = tuple(number for number, other in enumerate(mixers) if other is mixer)
                kind.times, kind.numbers = Size(len(own), "blocks"), own
            kinds.append(kind)
        return Stage(name=name, path=path, depth=depth, sizes=sizes, kinds=tuple(kinds))

    @abstractmethod
    def forward(self, run: Run, x: Tensor) -> Tensor:
        """Run the model's ops on its input and return the first output.

        Lines and variables are those of the torch module's forward.

        Raises:
            FormulaError: two ops do not fit together.
        """

    @abstractmethod
    def loss(self, run: Run, y: Tensor) -> Tensor:
        """Run the loss of a training step on the model's output."""

    def formula(self, batch: int = 1) -> Layer:
        """Return the model's ops on `batch` images as a tree, with the torch module's paths.

        Raises:
            FormulaError: two ops do not fit together.
        """
        shape, numbers = self.input(Size(batch, "B")), self.checked
        return count("", self._type, self.forward, shape, checked=numbers)

    def tree(self, measure: Measure, batch: int = 1) -> Layer:
        """Return the tree in which a measure is counted: `formula`."""
        return self.formula(batch)

    def program(self, batch: int = 1) -> Program:
        """Return the calls of the forward pass on `batch` images and of its loss, in order.

        Raises:
            FormulaError: two ops do not fit together.
        """
        return trace(self._type, self.forward, self.loss, self.input(Size(batch, "B")))

    @property
    def _type(self) -> str:
        return self.module.partition(":")[2]

    def input_shape(self, batch: int = 1) -> tuple[int, ...]:
        """Return the shape of the torch module's input, as numbers."""
        return tuple(size.value for size in self.input(Size(batch, "B")))

    def build(self, *, device: str, dtype: torch.dtype) -> nn.Module:
        """Build the torch module on a device; on `meta` it allocates nothing."""
        # Imported by name, since formulas must not depend on torch.
        module: nn.Module = import_module("vitprof.modules.build").build(
            self, device=device, dtype=dtype
        )
        return module

    def inputs(self, batch: int, *, device: str, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        """Return random images, or tokens, for the torch module."""
        import torch

        return (torch.randn(self.input_shape(batch), device=device, dtype=dtype),)

    def keywords(self, batch: int, *, device: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """Return no inputs by name."""
        return {}

    def words(self) -> dict[str, object]:
        """Return model, mixer and options, as JSON holds them.

        Raises:
            SpecError: the mixer is a class that cannot be named elsewhere.
        """
        check_can_be_found(type(self.mixer))
        return {name: plain(value) for name, value in self.conditions().items()}

    def conditions(self) -> dict[str, Value]:
        """Return every choice that a count depends on: model, mixer and their options."""
        return {
            **({"preset": self.preset} if self.preset else {}),
            "model": self.name,
            "mixer": name_of(type(self.mixer)),
            **self.values(),
            **self.mixer.values(),
        }
