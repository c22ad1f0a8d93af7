"""How PyTorch reads a module: its tensors' numel, and FlopCounterMode.

FlopCounterMode sees the kernels that run. It counts contractions alone, exactly; but of a
fused attention only the kernels that are registered, which depends on the platform.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.counters.convention import Causes, Convention, Opinion, Setting
from vitprof.counters.parts import each_tensor_once
from vitprof.counters.reading import Reading, Tool
from vitprof.counters.restored import restored
from vitprof.formulas.op import FusedAttention
from vitprof.formulas.work import Work

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


def macs(module: nn.Module, *inputs: Tensor) -> Reading:
    """FlopCounterMode's FLOPs, halved: it counts 2 for each multiply-add.

    It reports the modules that are called; a list of modules is not.
    """
    from torch.nn import ModuleDict, ModuleList
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as mode:
        module(*inputs)
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


def convention(setting: Setting) -> Convention:
    """PyTorch's rules: exact, but for a fused kernel that is not registered."""
    rules: dict[Work, Opinion] = {}
    if not counts_fused_attention(setting.device):
        rules[Work.FUSED_ATTENTION] = _fused_attention
    return Convention(rules)


def counts_fused_attention(device: str) -> bool:
    """Whether the kernel that a fused attention takes on `device` is registered."""
    import torch

    from vitprof.modules.mixers.attention import FusedAttention

    attend = FusedAttention()
    tokens = torch.zeros(1, 1, 2, 1, device=device)
    with restored(attend):
        return macs(attend, tokens, tokens, tokens).total > 0


def _fused_attention(op: FusedAttention) -> Causes:
    return {"the fused kernel of this device is not registered": -op.macs.value}


TORCH = Tool(
    name="torch",
    package="torch",
    params=params,
    macs=macs,
    weighs=each_tensor_once,
    convention=convention,
    needs_data=lambda module: False,
)
