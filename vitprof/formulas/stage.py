"""A stage: equal blocks one after the other, with sizes and a mixer of their own."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial

from vitprof.formulas.block import Block
from vitprof.formulas.run import Forward, Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import Size


@dataclass(slots=True, kw_only=True)
class Stage:
    """Equal blocks of a model; nobody changes them.

    Attributes:
        name: of the module list that holds them; empty where the block is the model itself.
        depth: how many they are.
        block: one of them.
    """

    name: str
    depth: Size
    block: Block

    def blocks(self, run: Run) -> Iterator[Forward[Tensor]]:
        """Yield, for a loop over the module list, what stands for its equal blocks."""
        forward = partial(self.block.forward, run)
        return run.blocks(self.name, self.depth, "Block", forward, self._key)

    def _key(self, x: Tensor) -> Hashable:
        """All that a count of the blocks depends on; None if x is not what they are made for."""
        block, (B, *axes) = self.block, x.shape
        sizes = block.sizes
        if axes != [sizes.tokens, sizes.dim]:
            return None
        whole = (B, self.depth, sizes.tokens, sizes.dim, sizes.heads, *(sizes.grid or ()))
        return (
            block.mixer,
            block.hidden,
            block.options.of_blocks(),
            *[size.value for size in whole],
            *[size.name for size in whole],
        )
