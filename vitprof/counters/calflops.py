"""calflops as a tool: it replaces functions of torch by counting ones.

It counts a multiply-accumulate of a linear layer, a convolution, `torch.matmul` and
`torch.addmm` as one MAC, without biases; its FLOPs, which vitprof does not show, add norms and
activations. It sees neither `@` nor a fused attention, and gives an einsum no MACs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vitprof.counters.by_module import at_first_paths, visited
from vitprof.counters.convention import Causes, Convention, Setting
from vitprof.counters.parts import each_trained_once, trained_by_path
from vitprof.counters.patched import convention_of, spelled
from vitprof.counters.reading import Reading, Tool
from vitprof.formulas.op import Called
from vitprof.formulas.work import Work

if TYPE_CHECKING:
    from torch import Tensor, nn

_REPLACED = frozenset(
    {
        *("F.linear", "F.conv1d", "F.conv2d", "F.conv3d"),
        *("F.conv_transpose1d", "F.conv_transpose2d", "F.conv_transpose3d"),
        *("torch.matmul", "Tensor.matmul", "torch.addmm", "Tensor.addmm", "torch.baddbmm"),
    }
)


def params(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return the parameters that take gradients, in total and by path."""
    from calflops.calculate_pipline import CalFlopsPipline

    pipeline = CalFlopsPipline(module, include_backPropagation=False, compute_bp_factor=2.0)
    pipeline.reset_flops_calculate()
    by_path = {path: int(part.__params__) for path, part in module.named_modules()}
    return Reading(total=pipeline.get_total_params(), by_path=by_path)


def macs(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return the MACs of calflops' pipeline, in total and by path."""
    from calflops import calculate_pipline as engine
    from calflops.utils import get_module_macs

    pipeline = engine.CalFlopsPipline(module, include_backPropagation=False, compute_bp_factor=2.0)
    try:
        pipeline.start_flops_calculate()
        module(*inputs, **keywords)
        total = int(pipeline.get_total_macs())
        listed = {path: int(get_module_macs(part)) for path, part in visited(module)}
    finally:  # what it put into the module and torch, `restored` takes out
        for left in (engine.module_flop_count, engine.module_mac_count, engine.old_functions):
            left.clear()
    by_path, aside = at_first_paths(module, listed)
    return Reading(total=total, by_path=by_path, aside=aside)


def convention(setting: Setting) -> Convention:
    """Return calflops' rules."""
    usual = convention_of(_REPLACED, setting)

    def call(op: Called) -> Causes:
        if op.function.startswith("aten::conv_transpose") and _REPLACED.intersection(spelled(op)):
            filters = op.operands[1][1].value  # of each group, which it divides by them again
            groups = op.out[1].value // filters
            counted = op.macs.value // filters * (filters // groups)
            return {f"{op.words}, of one group": counted - op.macs.value}
        return usual.rules[Work.CALL](op)

    return replace(usual, rules={**usual.rules, Work.CALL: call})


CALFLOPS = Tool(
    name="calflops",
    package="calflops",
    params=params,
    macs=macs,
    predict_params=each_trained_once,
    predict_by_path=trained_by_path,
    params_differ="parameters that take no gradient are not counted",
    convention=convention,
    extra="calflops",
)
