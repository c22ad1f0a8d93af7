"""A stage: equal blocks one after the other, with sizes and a mixer of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from vitprof.formulas.block import Block
from vitprof.formulas.run import Forward, Run
from vitprof.formulas.size import Size
from vitprof.formulas.tensor import Tensor


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
        return run.blocks(self.name, self.depth, "Block", partial(self.block.forward, run))
