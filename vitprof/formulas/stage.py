"""A stage: a sequence of blocks that have their sizes in common."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from vitprof.formulas.block import Block
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.run import EqualModules, Forward, Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import Size


@dataclass(slots=True, kw_only=True)
class EqualBlocks:
    """Blocks of a stage that are equal; immutable by convention.

    Attributes:
        block: one of them.
        times: how many they are.
        numbers: their numbers in the stage, ascending; empty if they are all of it.
        shared: name of the model's submodule with what they share; empty if they share nothing.
    """

    block: Block
    times: Size
    numbers: tuple[int, ...] = ()
    shared: str = ""


@dataclass(slots=True, kw_only=True)
class Stage:
    """A sequence of blocks of a model; immutable by convention.

    Attributes:
        name: name of their module list; empty if the block is the model itself.
        path: path of the list.
        depth: number of blocks.
        sizes: N, D and heads of all of them.
        kinds: the blocks, those that are equal together, in the order of the first of each kind.
    """

    name: str
    path: str
    depth: Size
    sizes: MixerSizes
    kinds: tuple[EqualBlocks, ...]

    @property
    def block(self) -> Block:
        """The first block; others can have another mixer."""
        return self.kinds[0].block

    def in_order(self) -> Iterator[EqualBlocks]:
        """Yield the kind of each block."""
        placed = {number: kind for kind in self.kinds for number in kind.numbers}
        for number in range(self.depth.value):
            yield placed.get(number, self.kinds[0])

    def shared(self, run: Run) -> dict[str, tuple[Tensor, ...]]:
        """Run what blocks share, before them, each as a submodule; see `Mixer.share`."""
        return {
            kind.shared: kind.block.mixer.run_shared(run, kind.shared, self.sizes)
            for kind in self.kinds
            if kind.shared
        }

    def blocks(self, run: Run, shared: dict[str, tuple[Tensor, ...]]) -> Iterator[Forward[Tensor]]:
        """Yield forwards that represent all blocks, for a loop over the module list.

        Args:
            run: the run.
            shared: what `shared` has returned.
        """
        equal = [
            EqualModules(
                times=kind.times,
                forward=partial(self._forward, run, kind, shared.get(kind.shared, ())),
                key=partial(self._key, kind),
                shared=shared.get(kind.shared, ()),
                numbers=kind.numbers,
            )
            for kind in self.kinds
        ]
        return run.module_list(self.name, "Block", equal)

    def _forward(self, run: Run, kind: EqualBlocks, shared: Sequence[Tensor], x: Tensor) -> Tensor:
        return kind.block.forward(run, x, *shared)

    def _key(self, kind: EqualBlocks, x: Tensor) -> Hashable:
        """Return all values that the blocks' count depends on; None if x is not (B, N, D)."""
        block, sizes, (B, *axes) = kind.block, self.sizes, x.shape
        if axes != [sizes.tokens, sizes.dim]:
            return None
        patches = sizes.patches or ()
        sizes_of_all = (B, kind.times, sizes.tokens, sizes.dim, sizes.heads, *patches)
        return (
            block.mixer,
            kind.numbers,
            sizes.prefix,
            sizes.stage,
            block.hidden,
            block.options.of_blocks(),
            *[size.value for size in sizes_of_all],
            *[size.name for size in sizes_of_all],
        )
