"""How fvcore reads a module: by a trace of its forward pass."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from vitprof.counters.reading import Counter, Reading

if TYPE_CHECKING:
    from torch import Tensor, nn


def params(module: nn.Module) -> Reading:
    """Total and per submodule and parameter, as `fvcore.nn.parameter_count` counts."""
    from fvcore.nn import parameter_count

    by_path = dict(parameter_count(module))
    return Reading(total=by_path[""], by_path=by_path)


def macs(module: nn.Module, inputs: Tensor) -> Reading:
    """Flops, of which one is a multiply-add, as `FlopCountAnalysis` counts them."""
    from fvcore.nn import FlopCountAnalysis

    notes = []
    if executes(module):
        module, inputs = _with_data(module, inputs)
        notes.append("executed on the CPU, since a convolution cannot be traced without data")
    analysis = FlopCountAnalysis(module, inputs).tracer_warnings("none")
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_path = {path: int(flops) for path, flops in analysis.by_module().items()}
    without_rule = sorted(op.removeprefix("aten::") for op in analysis.unsupported_ops())
    if without_rule:
        notes.append(f"no rule for {', '.join(without_rule)}")
    return Reading(
        total=int(analysis.total()),
        by_path=by_path,
        notes=tuple(notes),
    )


def executes(module: nn.Module) -> bool:
    """Whether there is a convolution, which torch's tracer cannot trace without data."""
    from torch.nn.modules.conv import _ConvNd

    return any(isinstance(submodule, _ConvNd) for submodule in module.modules())


def _with_data(module: nn.Module, inputs: Tensor) -> tuple[nn.Module, Tensor]:
    """A copy of the module and its inputs on the CPU, all zeros."""
    import torch

    copied = copy.deepcopy(module).to_empty(device="cpu")
    for tensor in (*copied.parameters(), *copied.buffers()):
        tensor.detach().zero_()
    return copied, torch.zeros(inputs.shape, dtype=inputs.dtype)


FVCORE = Counter(name="fvcore", package="fvcore", params=params, macs=macs, executes=executes)
