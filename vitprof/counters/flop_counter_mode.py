"""PyTorch as a tool: `numel` of the parameters, and FlopCounterMode.

FlopCounterMode sees the kernels that run. It counts contractions only, exactly; a fused
attention is counted only if its kernel is registered, which depends on the platform. Of the
backward pass it counts the gradient of a grouped convolution's weight as if all channels were
connected (`conv_backward_flop` in torch/utils/flop_counter.py).
"""

from __future__ import annotations

from collections import Counter as Sums
from typing import TYPE_CHECKING

from vitprof.counters.convention import Causes, Convention, Rule, Setting, sees_all
from vitprof.counters.parts import each_tensor_once, unclear_paths
from vitprof.counters.reading import Reading, Tool, TrainingStep
from vitprof.counters.restored import restored
from vitprof.formulas.layer import Layer, ancestors
from vitprof.formulas.op import Called, Conv, FusedAttention, Pass
from vitprof.formulas.work import Work
from vitprof.values.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn


def params(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return the sum of `numel`, in total and by path; a shared parameter is counted once."""
    by_path = {name: parameter.numel() for name, parameter in module.named_parameters()}
    by_path |= {
        path: sum(parameter.numel() for parameter in submodule.parameters())
        for path, submodule in module.named_modules()
    }
    return Reading(total=by_path[""], by_path=by_path)


def macs(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return half of FlopCounterMode's FLOPs, which are 2 for each multiply-accumulate.

    Only modules that are called have a figure, which a module list is not; and a module that is
    at several paths has it at one of them, so that neither it nor what is around it has one here.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as mode:
        module(*inputs, **keywords)
    root = type(module).__name__
    flops = {
        path.removeprefix(root).removeprefix("."): sum(ops.values())
        for path, ops in mode.get_flop_counts().items()
        if path != "Global"
    }
    total = mode.get_total_flops() // 2
    around = {above for path in flops for above in ancestors(path)[:-1]}
    unclear = unclear_paths(module)
    by_path = {
        path: flops.get(path, 0) // 2
        for path, _ in module.named_modules()
        if (path in flops or path not in around) and path not in unclear
    }
    return Reading(total=total, by_path={**by_path, "": total})


def training(step: TrainingStep) -> Reading:
    """Return half of FlopCounterMode's FLOPs of a forward and a backward pass, in total.

    It knows the module of a backward kernel by hooks on gradients, which take some of one module
    for its neighbour's; so there is no figure by path.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as mode:
        step.propagate()
    total = mode.get_total_flops() // 2
    return Reading(total=total, by_path={"": total})


def _trains_on_cpu(module: nn.Module) -> str:
    from torch.nn import RNNBase

    recurs = any(isinstance(part, RNNBase) for part in module.modules())
    return "has recurrent layers, which have another kernel" if recurs else ""


def convention(setting: Setting) -> Convention:
    """Return PyTorch's rules: MACs, except for a fused attention kernel that is not registered."""
    if setting.training:
        return _in_training(setting)
    on_meta = setting.device == "meta"
    rules: dict[Work, Rule] = {Work.CALL: _call_on_meta if on_meta else _call}
    if not counts_fused_attention(setting.device):
        rules[Work.FUSED_ATTENTION] = _fused_attention
    return Convention(rules, unseen=hides_fast_path if setting.takes_fast_paths else sees_all)


def hides_fast_path(layer: Layer) -> str:
    """Return the reason for which kernels of a layer are not counted; empty if they are."""
    return f"the fast path of {layer.type} is not registered" if layer.fast else ""


def counts_fused_attention(device: str) -> bool:
    """Return True if FlopCounterMode counts the fused attention kernel of `device`."""
    import torch

    from vitprof.modules.fused import FusedAttention

    attend = FusedAttention()
    tokens = torch.zeros(1, 1, 2, 1, device=device)
    with restored(attend):
        return macs(attend, tokens, tokens, tokens).total > 0


def _call(op: Called) -> Causes:
    known = _registered()
    causes: Sums[str] = Sums()
    for kernel, sizes in op.products:
        if kernel not in known:
            causes[f"{kernel} is not registered"] -= product(sizes).value
    return causes


def _registered() -> set[str]:
    """Return the names of the kernels that FlopCounterMode counts."""
    from torch.utils.flop_counter import flop_registry

    return {getattr(packet, "_qualified_op_name", "") for packet in flop_registry}


def _call_on_meta(op: Called) -> Causes:
    return {cause: amount for cause, amount in _call(op).items() if not of_a_cpu(cause)}


def of_a_cpu(cause: str) -> bool:
    """Return True if a cause names a function of a CPU, which the meta device takes apart."""
    return any(kernel in cause for kernel in _OF_A_CPU)


_OF_A_CPU = ("aten::mkldnn_rnn_layer", "aten::_scaled_dot_product_flash_attention_for_cpu")


def _fused_attention(op: FusedAttention) -> Causes:
    if op.apart:
        return {}
    return {"the fused kernel of this device is not registered": -op.macs.value}


def _in_training(setting: Setting) -> Convention:
    taken_apart = setting.device == "meta"
    return Convention(
        {
            Work.CONV: _conv_in_training,
            Work.CALL: _call_in_training_on_meta if taken_apart else _call_in_training,
            Work.FUSED_ATTENTION: _fused_taken_apart if taken_apart else _fused_in_training,
        }
    )


def _conv_in_training(op: Conv) -> Causes:
    assert op.passes is not None
    groups = op.reads[0][1].value // op.inputs.value
    dense = op.passes.by_weight.value * (groups - 1)
    return {_DENSE: dense}


def _fused_taken_apart(op: FusedAttention) -> Causes:
    assert op.passes is not None
    rebuilt = op.passes.rebuilt.value
    return {_TAKEN_APART: -rebuilt}


def _fused_in_training(op: FusedAttention) -> Causes:
    if op.apart:
        return {}
    return {"the fused kernel of this device is not registered": -op.training_macs.value}


def _call_in_training(op: Called) -> Causes:
    causes: Sums[str] = Sums(_call(op))
    known = _registered()
    for part, kernel, sizes, groups in op.gradients:
        macs = product(sizes).value
        if kernel not in known:
            causes[f"{kernel} is not registered"] -= macs
        elif part is Pass.BY_WEIGHT and groups > 1:
            causes[_DENSE] += macs * (groups - 1)
    return causes


def _call_in_training_on_meta(op: Called) -> Causes:
    causes = {
        cause: amount
        for cause, amount in _call_in_training(op).items()
        if not any(kernel in cause for kernel in _OF_A_CPU)
    }
    rebuilt = 0 if op.passes is None else op.passes.rebuilt.value
    return {**causes, _TAKEN_APART: -rebuilt}


_DENSE = "gradients of the weights of grouped convolutions counted as dense"
_TAKEN_APART = "the meta device takes fused attention apart and keeps its scores"

TORCH = Tool(
    name="torch",
    package="torch",
    params=params,
    macs=macs,
    predict_params=each_tensor_once,
    convention=convention,
    training=training,
    trains_on_cpu=_trains_on_cpu,
)
