"""fvcore as a tool: it traces the forward pass.

It counts a multiply-accumulate of a contraction as one flop and adds flops for norms, so its
total mixes two units. An operator without a rule is counted as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from vitprof.counters.convention import Causes, Convention, Rule, Setting, sees_all
from vitprof.counters.parts import each_tensor_once
from vitprof.counters.reading import Reading, Tool
from vitprof.counters.restored import restored
from vitprof.formulas.layer import Layer
from vitprof.formulas.op import (
    BatchNorm,
    Called,
    Conv,
    Elementwise,
    FusedAttention,
    LayerNorm,
    TokenBatchNorm,
    TokenGroupNorm,
)
from vitprof.formulas.work import Work
from vitprof.values.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn


def params(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return what `fvcore.nn.parameter_count` counts, in total and by path."""
    from fvcore.nn import parameter_count

    by_path = dict(parameter_count(module))
    return Reading(total=by_path.get("", 0), by_path=by_path)


def macs(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return the flops of `FlopCountAnalysis`, in which a multiply-accumulate is one flop."""
    from fvcore.nn import FlopCountAnalysis

    from vitprof.modules.flat import Flat

    flat = Flat(module, tuple(keywords))
    given = (*inputs, *keywords.values())
    analysis = FlopCountAnalysis(flat, given).tracer_warnings("none")
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_path = {
        path.removeprefix("module").removeprefix("."): int(flops)
        for path, flops in analysis.by_module().items()
        if path
    }
    without_rule = sorted(op.removeprefix("aten::") for op in analysis.unsupported_ops())
    return Reading(
        total=int(analysis.total()),
        by_path=by_path,
        notes=(f"no rule for {', '.join(without_rule)}",) if without_rule else (),
    )


def needs_data(module: nn.Module) -> str:
    """Return a reason if there is a convolution, which torch cannot trace on the meta device."""
    from torch.nn.modules.conv import _ConvNd

    there = any(isinstance(submodule, _ConvNd) for submodule in module.modules())
    return "a convolution cannot be traced without data" if there else ""


def convention(setting: Setting) -> Convention:
    """Return fvcore's rules: norms by the element, batch norms by their mode."""
    rules: dict[Work, Rule] = {**IN_EVAL, Work.CALL: _call}
    if setting.train:
        rules[Work.BATCH_NORM] = _batch_norm_in_training
    if not knows_fused_attention():
        rules[Work.FUSED_ATTENTION] = _fused_attention
    return Convention(rules, unseen=hides_fast_path if setting.takes_fast_paths else sees_all)


def hides_fast_path(layer: Layer) -> str:
    """Return the reason for which a trace of a layer has nothing to count; empty if it has."""
    # A tracer keeps encoder layers from their fast path, but not the attention in them.
    seen = not layer.fast or layer.type == "TransformerEncoderLayer"
    return "" if seen else f"the fast path of {layer.type} has no rule"


def knows_fused_attention() -> bool:
    """Return True if the installed fvcore has a rule for scaled_dot_product_attention."""
    import torch

    from vitprof.modules.fused import FusedAttention

    attend = FusedAttention()
    tokens = torch.empty(1, 1, 2, 1, device="meta")
    with restored(attend):
        return macs(attend, tokens, tokens, tokens).total > 0


def _layer_norm(op: LayerNorm) -> Causes:
    return {"LayerNorm, 5 per element": 5 * product(op.shape).value}


def _group_norm(op: TokenGroupNorm) -> Causes:
    return {"GroupNorm, 5 per element": 5 * product(op.shape).value}


def _batch_norm_in_training(op: BatchNorm | TokenBatchNorm) -> Causes:
    return {"BatchNorm in train mode, 5 per element": 5 * product(op.shape).value}


def _batch_norm_in_eval(op: BatchNorm | TokenBatchNorm) -> Causes:
    return {"BatchNorm in eval mode, 2 per element": 2 * product(op.shape).value}


def _fused_attention(op: FusedAttention) -> Causes:
    return {"fused attention has no rule": -op.macs.value}


def _conv(op: Conv) -> Causes:
    if not op.padding:
        return {}
    return {"convolutions with padding as a word have no rule": -op.macs.value}


def _adaptive_pool(op: Elementwise) -> Causes:
    return _of_adaptive_pool(product(op.axes).value)


def _of_adaptive_pool(read: int) -> Causes:
    return {"adaptive_avg_pool2d, 1 per element read": read}


def _call(op: Called) -> Causes:
    """Return fvcore's rules for a function by its name, as a TorchScript trace calls it."""
    name, macs = op.function.removeprefix("aten::"), op.macs.value
    operands = [tuple(size.value for size in shape) for shape in op.operands]
    if not op.used:
        return {"what nothing depends on is not traced": -macs}
    if "autograd.Function" in op.detail:
        return {"what an autograd.Function calls is not traced": -macs}
    if name in _BY_OPERANDS:
        first, second = operands[-2:] if name == "addmm" else operands[:2]
        last = second[0] if name == "linear" else second[-1]
        return {f"{name}, by its first operand": prod(first) * last - macs}
    if name == "einsum":
        return {"einsum, half of NumPy's estimate": _einsum(op.detail, operands) - macs}
    if name in _BY_WRITTEN:
        each = _BY_WRITTEN[name]
        return {f"{name}, {each} per element written": each * product(op.out).value}
    if name == "adaptive_avg_pool2d":
        return _of_adaptive_pool(prod(operands[0]))
    if name in _NORMS:
        affine = "affine" in op.detail
        each = 4 + affine
        if name == "batch_norm" and "training" not in op.detail:
            each = 1 + affine
        return {f"{name}, {each} per element": each * prod(operands[0])}
    if name.startswith("conv") or name in _TAKEN_APART:
        return {}
    return {f"{name} has no rule": -macs}


def _einsum(equation: str, shapes: list[tuple[int, ...]]) -> int:
    """Return fvcore's count: half of the "optimized flop count" that NumPy prints, rounded down.

    Two equations have rules of their own, which count the products.
    """
    import numpy as np

    letters = dict.fromkeys(letter for letter in equation if letter.isalpha())
    spelled = equation.replace(" ", "").translate(
        {ord(letter): 97 + place for place, letter in enumerate(letters)}
    )
    if spelled == "abc,abd->acd":
        return prod(shapes[0]) * shapes[-1][-1]
    if spelled == "abc,adc->adb":
        return prod(shapes[0]) * shapes[-1][1]
    # Operands without memory: NumPy looks at their shapes alone.
    empty = [np.broadcast_to(np.zeros(()), shape) for shape in shapes]
    printed = str(np.einsum_path(spelled, *empty, optimize="optimal")[1])
    (line,) = [line for line in printed.splitlines() if "optimized flop" in line.lower()]
    return int(float(line.rpartition(":")[2]) / 2)


_BY_OPERANDS = {"linear", "matmul", "mm", "bmm", "addmm"}
_BY_WRITTEN = {"upsample_nearest2d": 1, "upsample_bilinear2d": 4, "grid_sampler": 4}
# A trace has the linear layers of these in their place.
_TAKEN_APART = {"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
_NORMS = {"layer_norm", "group_norm", "instance_norm", "batch_norm"}

IN_EVAL: Mapping[Work, Rule] = {
    Work.LAYER_NORM: _layer_norm,
    Work.BATCH_NORM: _batch_norm_in_eval,
    Work.GROUP_NORM: _group_norm,
    Work.ADAPTIVE_POOL: _adaptive_pool,
    Work.CONV: _conv,
}

FVCORE = Tool(
    name="fvcore",
    package="fvcore",
    params=params,
    macs=macs,
    predict_params=each_tensor_once,
    predict_by_path=None,
    convention=convention,
    needs_data=needs_data,
)
