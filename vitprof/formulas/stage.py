"""A stage: a sequence of equal blocks, with the sizes and the mixer of that stage."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from vitprof.formulas.block import Block
from vitprof.formulas.run import Forward, Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import Size


@dataclass(slots=True, kw_only=True)
class Stage:
    """A sequence of equal blocks of a model; immutable by convention.

    Attributes:
        name: name of their module list; empty if the block is the model itself.
        depth: number of blocks.
        block: one of them.
    """

    name: str
    depth: Size
    block: Block

    def shared(self, run: Run) -> tuple[Tensor, ...]:
        """Run what the blocks share, before them; see `Mixer.share`."""
        return self.block.mixer.run_shared(run, self.block.sizes)

    def blocks(self, run: Run, *shared: Tensor) -> Iterator[Forward[Tensor]]:
        """Yield one forward that represents all blocks, for a loop over the module list.

        Args:
            run: the run.
            *shared: what `shared` has returned.
        """

        def forward(x: Tensor) -> Tensor:
            return self.block.forward(run, x, *shared)

        return run.blocks(self.name, self.depth, "Block", forward, self._key, shared)

    def _key(self, x: Tensor) -> Hashable:
        """Return all values that the blocks' count depends on; None if x is not (B, N, D)."""
        block, (B, *axes) = self.block, x.shape
        sizes = block.sizes
        if axes != [sizes.tokens, sizes.dim]:
            return None
        sizes_of_all = (B, self.depth, sizes.tokens, sizes.dim, sizes.heads, *(sizes.patches or ()))
        return (
            block.mixer,
            sizes.prefix,
            block.hidden,
            block.options.of_blocks(),
            *[size.value for size in sizes_of_all],
            *[size.name for size in sizes_of_all],
        )
