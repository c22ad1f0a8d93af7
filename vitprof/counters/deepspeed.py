"""DeepSpeed's flops profiler as a tool: it replaces functions of torch by counting ones.

It counts a multiply-accumulate of a linear layer, a convolution, a matrix product and a fused
attention as one MAC, without biases; its FLOPs, which vitprof does not show, add norms and
activations. An einsum has no MACs. On the meta device torch computes linear layers and
convolutions by functions that it replaces, too, and they would count twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.counters.convention import Convention, Setting
from vitprof.counters.parts import each_tensor_once, unclear_paths
from vitprof.counters.patched import convention_of
from vitprof.counters.reading import Reading, Tool

if TYPE_CHECKING:
    from torch import Tensor, nn

_REPLACED = {
    *("F.linear", "F.conv1d", "F.conv2d", "F.conv3d"),
    *("F.conv_transpose1d", "F.conv_transpose2d", "F.conv_transpose3d"),
    "F.scaled_dot_product_attention",
    *("torch.matmul", "Tensor.matmul", "Tensor.__matmul__", "torch.mm", "Tensor.mm"),
    *("torch.bmm", "Tensor.bmm", "torch.addmm", "Tensor.addmm", "torch.baddbmm"),
}


def params(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return the parameters of the profile, in total and by path."""
    from deepspeed.profiling.flops_profiler import FlopsProfiler

    profiler = FlopsProfiler(module)
    profiler.reset_profile()
    by_path = {path: int(part.__params__) for path, part in module.named_modules()}
    return Reading(total=profiler.get_total_params(), by_path=by_path)


def macs(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return the MACs of the profile, in total and by path."""
    from deepspeed.profiling.flops_profiler import FlopsProfiler
    from deepspeed.profiling.flops_profiler import profiler as engine

    profiler = FlopsProfiler(module)
    try:
        profiler.start_profile()
        module(*inputs, **keywords)
        total = int(profiler.get_total_macs())
        unclear = unclear_paths(module)
        by_path = {
            path: int(engine.get_module_macs(part))
            for path, part in module.named_modules()
            if path not in unclear
        }
    finally:
        profiler.end_profile()
        for left in (engine.module_flop_count, engine.module_mac_count, engine.old_functions):
            left.clear()
    return Reading(total=total, by_path=by_path)


def convention(setting: Setting) -> Convention:
    """Return DeepSpeed's rules."""
    return convention_of(_REPLACED, setting)


DEEPSPEED = Tool(
    name="deepspeed",
    package="deepspeed",
    params=params,
    macs=macs,
    predict_params=each_tensor_once,
    convention=convention,
    needs_data=lambda module: "it would count linear layers and convolutions twice",
    extra="deepspeed",
)
