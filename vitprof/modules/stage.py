"""Blocks of a stage; see `vitprof.formulas.stage`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vitprof.modules.block import Block
from vitprof.modules.build import build_shared

if TYPE_CHECKING:
    from vitprof.formulas.stage import Stage


def add_shared(owner: nn.Module, stage: Stage) -> None:
    """Add what the blocks of a stage share to the module that has them, as submodules."""
    for kind in stage.kinds:
        if kind.shared:
            owner.add_module(kind.shared, build_shared(kind.block))


def make_blocks(stage: Stage) -> nn.ModuleList:
    """Return the blocks of a stage."""
    return nn.ModuleList(Block(kind.block, reads=kind.shared) for kind in stage.in_order())


def shared_of(shared: dict[str, tuple[Tensor, ...]], block: nn.Module) -> tuple[Tensor, ...]:
    """Return what a block reads besides its input, of what `run_shared` has returned."""
    assert isinstance(block, Block)
    return shared.get(block.reads, ())


def run_shared(owner: nn.Module) -> dict[str, tuple[Tensor, ...]]:
    """Return what the blocks of a module share, by the name of its submodule."""
    return {name: module() for name, module in owner.named_children() if name.startswith("shared")}
