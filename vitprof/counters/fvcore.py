"""fvcore as a tool: it traces the forward pass.

It counts a multiply-accumulate of a contraction as one flop and adds flops for norms, so its
total mixes two units. An operator without a rule is counted as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vitprof.counters.convention import Causes, Convention, Rule, Setting
from vitprof.counters.parts import each_tensor_once
from vitprof.counters.reading import Reading, Tool
from vitprof.counters.restored import restored
from vitprof.formulas.op import BatchNorm, FusedAttention, LayerNorm, TokenBatchNorm
from vitprof.formulas.work import Work
from vitprof.values.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn


def params(module: nn.Module) -> Reading:
    """Return what `fvcore.nn.parameter_count` counts, in total and by path."""
    from fvcore.nn import parameter_count

    by_path = dict(parameter_count(module))
    return Reading(total=by_path.get("", 0), by_path=by_path)


def macs(module: nn.Module, *inputs: Tensor) -> Reading:
    """Return the flops of `FlopCountAnalysis`, in which a multiply-accumulate is one flop."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(module, inputs).tracer_warnings("none")
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_path = {path: int(flops) for path, flops in analysis.by_module().items()}
    without_rule = sorted(op.removeprefix("aten::") for op in analysis.unsupported_ops())
    return Reading(
        total=int(analysis.total()),
        by_path=by_path,
        notes=(f"no rule for {', '.join(without_rule)}",) if without_rule else (),
    )


def needs_data(module: nn.Module) -> bool:
    """Return True if there is a convolution, which torch cannot trace on the meta device."""
    from torch.nn.modules.conv import _ConvNd

    return any(isinstance(submodule, _ConvNd) for submodule in module.modules())


def convention(setting: Setting) -> Convention:
    """Return fvcore's rules: norms by the element, batch norms by their mode."""
    rules = dict(IN_EVAL)
    if setting.train:
        rules[Work.BATCH_NORM] = _batch_norm_in_training
    if not knows_fused_attention():
        rules[Work.FUSED_ATTENTION] = _fused_attention
    return Convention(rules)


def knows_fused_attention() -> bool:
    """Return True if the installed fvcore has a rule for scaled_dot_product_attention."""
    import torch

    from vitprof.modules.mixers.attention import FusedAttention

    attend = FusedAttention()
    tokens = torch.empty(1, 1, 2, 1, device="meta")
    with restored(attend):
        return macs(attend, tokens, tokens, tokens).total > 0


def _layer_norm(op: LayerNorm) -> Causes:
    return {"LayerNorm, 5 per element": 5 * product(op.shape).value}


def _batch_norm_in_training(op: BatchNorm | TokenBatchNorm) -> Causes:
    return {"BatchNorm in train mode, 5 per element": 5 * product(op.shape).value}


def _batch_norm_in_eval(op: BatchNorm | TokenBatchNorm) -> Causes:
    return {"BatchNorm in eval mode, 2 per element": 2 * product(op.shape).value}


def _fused_attention(op: FusedAttention) -> Causes:
    return {"fused attention has no rule": -op.macs.value}


IN_EVAL: Mapping[Work, Rule] = {
    Work.LAYER_NORM: _layer_norm,
    Work.BATCH_NORM: _batch_norm_in_eval,
}

FVCORE = Tool(
    name="fvcore",
    package="fvcore",
    params=params,
    macs=macs,
    predict_params=each_tensor_once,
    convention=convention,
    needs_data=needs_data,
)
