"""How fvcore reads a module: by a trace of its forward pass.

It counts a multiply-add of a contraction as one flop, and adds flops for norms, so its
total has two units. An operator without a rule counts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vitprof.counters.convention import Causes, Convention, Opinion, Setting
from vitprof.counters.parts import each_tensor_once
from vitprof.counters.reading import Reading, Tool
from vitprof.counters.restored import restored
from vitprof.formulas.op import BatchNorm, FusedAttention, LayerNorm, TokenBatchNorm
from vitprof.formulas.work import Work
from vitprof.values.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn


def params(module: nn.Module) -> Reading:
    """Total and per submodule and parameter, as `fvcore.nn.parameter_count` counts."""
    from fvcore.nn import parameter_count

    by_path = dict(parameter_count(module))
    return Reading(total=by_path.get("", 0), by_path=by_path)


def macs(module: nn.Module, *inputs: Tensor) -> Reading:
    """Flops, of which one is a multiply-add, as `FlopCountAnalysis` counts them."""
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
    """Whether there is a convolution, which torch's tracer cannot trace without data."""
    from torch.nn.modules.conv import _ConvNd

    return any(isinstance(submodule, _ConvNd) for submodule in module.modules())


def convention(setting: Setting) -> Convention:
    """fvcore's rules: norms by the element, batch norms by their mode."""
    rules = dict(IN_EVAL)
    if setting.train:
        rules[Work.BATCH_NORM] = _batch_norm_in_training
    if not knows_fused_attention():
        rules[Work.FUSED_ATTENTION] = _fused_attention
    return Convention(rules)


def knows_fused_attention() -> bool:
    """Whether this fvcore has a rule for scaled_dot_product_attention."""
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


IN_EVAL: Mapping[Work, Opinion] = {
    Work.LAYER_NORM: _layer_norm,
    Work.BATCH_NORM: _batch_norm_in_eval,
}

FVCORE = Tool(
    name="fvcore",
    package="fvcore",
    params=params,
    macs=macs,
    weighs=each_tensor_once,
    convention=convention,
    needs_data=needs_data,
)
