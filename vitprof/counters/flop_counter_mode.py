"""How PyTorch reads a module: its tensors' numel, and FlopCounterMode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.counters.reading import Counter, Reading

if TYPE_CHECKING:
    from torch import Tensor, nn


def params(module: nn.Module) -> Reading:
    """The sum of `numel`, a shared parameter counted once."""
    by_path = {name: parameter.numel() for name, parameter in module.named_parameters()}
    by_path |= {
        path: sum(parameter.numel() for parameter in submodule.parameters())
        for path, submodule in module.named_modules()
    }
    return Reading(total=by_path[""], by_path=by_path)


def macs(module: nn.Module, inputs: Tensor) -> Reading:
    """FlopCounterMode's FLOPs, halved: it counts 2 for each multiply-add.

    It reports the modules that are called; a list of modules is not.
    """
    from torch.nn import ModuleDict, ModuleList
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as mode:
        module(inputs)
    root = type(module).__name__
    flops = {
        path.removeprefix(root).removeprefix("."): sum(ops.values())
        for path, ops in mode.get_flop_counts().items()
        if path != "Global"
    }
    called = [
        path
        for path, submodule in module.named_modules()
        if not isinstance(submodule, ModuleList | ModuleDict)
    ]
    return Reading(
        total=mode.get_total_flops() // 2,
        by_path={path: flops.get(path, 0) // 2 for path in called},
    )


TORCH = Counter(name="torch", package="torch", params=params, macs=macs)
