"""Memory rules: the functions of ATen that each kind of work calls, with their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels import (
    attention,
    contractions,
    convolutions,
    elementwise,
    losses,
    norms,
    places,
    random_numbers,
    reductions,
    scans,
    transforms,
    views,
)
from vitprof.formulas.op import (
    FFT,
    Buffer,
    ChannelWise,
    Conv,
    Elementwise,
    Linear,
    Parameter,
    RMSNorm,
)
from vitprof.formulas.op import BatchNorm as _BatchNorm
from vitprof.formulas.program import Move
from vitprof.formulas.work import Work
from vitprof.values.size import ZERO

Rule = Callable[..., Tensor]  # takes the step on paper, the op and its inputs


def _linear(m: Eager, op: Linear, x: Tensor) -> Tensor:
    weight = m.parameter((op.outputs, op.inputs))
    return contractions.linear(m, x, weight, m.parameter((op.outputs,)) if op.bias else None)


def _conv(m: Eager, op: Conv, x: Tensor) -> Tensor:
    weight = m.parameter((op.outputs, op.inputs, *op.kernel))
    bias = m.parameter((op.outputs,)) if op.bias else None
    return convolutions.conv(m, x, weight, bias, op.shape)


def _matmul(m: Eager, op: object, x: Tensor, y: Tensor) -> Tensor:
    y = m.to_autocast_dtype(y)  # arguments are cast from right to left
    x = m.to_autocast_dtype(x)
    z = contractions.matmul(m, x, y)
    m.free(x, y)
    return z


def _attention(m: Eager, op: object, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention.fused_attention(m, q, k, v)


def _layer_norm(m: Eager, op: ChannelWise, x: Tensor) -> Tensor:
    bias = None if op.biases is ZERO else m.parameter((op.dim,))
    return norms.layer_norm(m, x, m.parameter((op.dim,)), bias)


def _rms_norm(m: Eager, op: RMSNorm, x: Tensor) -> Tensor:
    return norms.rms_norm(m, x, m.parameter((op.dim,)) if op.gain else None)


def _batch_norm(m: Eager, op: ChannelWise | _BatchNorm, x: Tensor) -> Tensor:
    if isinstance(op, ChannelWise):
        return norms.token_batch_norm(m, x, m.parameter((op.dim,)), m.parameter((op.dim,)))
    return norms.batch_norm(m, x, m.parameter((op.channels,)), m.parameter((op.channels,)))


def _group_norm(m: Eager, op: ChannelWise, x: Tensor) -> Tensor:
    weight = m.parameter((op.dim,))
    bias = None if op.biases is ZERO else m.parameter((op.dim,))
    return norms.token_group_norm(m, x, weight, bias)


def _affine(m: Eager, op: ChannelWise, x: Tensor) -> Tensor:
    return norms.affine(m, x, m.parameter((op.dim,)), m.parameter((op.dim,)))


def _layer_scale(m: Eager, op: ChannelWise, x: Tensor) -> Tensor:
    return elementwise.multiply(m, x, m.parameter((op.dim,)))


def _add(m: Eager, op: object, *terms: Tensor) -> Tensor:
    return elementwise.add(m, *terms) if len(terms) == 2 else elementwise.add_scalar(m, *terms)


def _of_elements(function: Callable[..., Tensor]) -> Rule:
    return lambda m, op, *inputs: function(m, *inputs)


def _reduction(function: Callable[..., Tensor]) -> Rule:
    def rule(m: Eager, op: Elementwise, x: Tensor) -> Tensor:
        return function(m, x, op.shape, op.dims)

    return rule


def _cumulative_sum(m: Eager, op: Elementwise, x: Tensor) -> Tensor:
    (dim,) = op.dims
    return reductions.cumulative_sum(m, x, dim)


def _of_shape(function: Callable[..., Tensor]) -> Rule:
    return lambda m, op, x: function(m, x, op.shape)


def _fft(m: Eager, op: FFT, x: Tensor, like: Tensor | None = None) -> Tensor:
    if like is not None:
        return transforms.inverse_half_fft(m, x, op.out, like.dtype)
    if op.torch_type == "HalfFFT2":
        return transforms.half_fft(m, x, op.out)
    return transforms.real_part_of_fft(m, x)


def _parameter(m: Eager, op: Parameter) -> Tensor:
    return m.parameter(op.axes, trained=op.trained)


def _buffer(m: Eager, op: Buffer) -> Tensor:
    dtype = m.weight_dtype if op.dtype == "float" else op.dtype
    return m.parameter(op.axes, trained=False, dtype=dtype)


RULES: Mapping[Work, Rule] = {
    Work.LINEAR: _linear,
    Work.CONV: _conv,
    Work.MATMUL: _matmul,
    Work.FUSED_ATTENTION: _attention,
    Work.LAYER_NORM: _layer_norm,
    Work.RMS_NORM: _rms_norm,
    Work.BATCH_NORM: _batch_norm,
    Work.GROUP_NORM: _group_norm,
    Work.AFFINE: _affine,
    Work.LAYER_SCALE: _layer_scale,
    Work.SOFTMAX: _of_elements(norms.softmax),
    Work.GELU: _of_elements(elementwise.keeps_input),
    Work.RELU: _of_elements(elementwise.relu),
    Work.SILU: _of_elements(elementwise.keeps_input),
    Work.SIGMOID: _of_elements(elementwise.keeps_output),
    Work.TANH: _of_elements(elementwise.keeps_output),
    Work.ELU: _of_elements(elementwise.elu),
    Work.SOFTPLUS: _of_elements(elementwise.softplus),
    Work.EXP: _of_elements(elementwise.exp),
    Work.SCALE: _of_elements(elementwise.scale),
    Work.ADD: _add,
    Work.SUBTRACT: _of_elements(elementwise.subtract),
    Work.MULTIPLY: _of_elements(elementwise.multiply),
    Work.DIVIDE: _of_elements(elementwise.divide),
    Work.COS: _of_elements(elementwise.cos),
    Work.SIN: _of_elements(elementwise.sin),
    Work.CLAMP: _of_elements(elementwise.clamp),
    Work.SQUARE: _of_elements(elementwise.square),
    Work.COMPLEX_MULTIPLY: _of_elements(transforms.complex_multiply),
    Work.SHIFT: _of_elements(views.shift),
    Work.MASK: _of_elements(places.mask_below),
    Work.SUBTRACT_FROM_IDENTITY: _of_elements(elementwise.subtract_from_identity),
    Work.DROPOUT: _of_elements(random_numbers.dropout),
    Work.DROP_PATH: _of_elements(random_numbers.drop_path),
    Work.SUM: _reduction(reductions.total),
    Work.MEAN: _reduction(reductions.mean),
    Work.MAXIMUM: _of_shape(reductions.maximum),
    Work.GREATEST_COLUMN_SUM: _of_shape(reductions.greatest_column_sum),
    Work.CUMULATIVE_SUM: _cumulative_sum,
    Work.SCAN: _of_elements(scans.scan),
    Work.TOP_K: _of_shape(places.topk),
    Work.AVERAGE_POOL: _of_shape(convolutions.avg_pool),
    Work.ADAPTIVE_POOL: _of_shape(convolutions.avg_pool),
    Work.L2_NORM: _of_elements(reductions.l2_norm),
    Work.FFT: _fft,
    Work.CROSS_ENTROPY: _of_elements(losses.cross_entropy),
    Work.SQUARED_ERROR: _of_elements(losses.squared_error),
    Work.PARAMETER: _parameter,
    Work.BUFFER: _buffer,
}


def move(m: Eager, entry: Move, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the outputs of a method that does no arithmetic."""
    made = _MOVES[entry.method](m, entry, *inputs)
    return made if isinstance(made, tuple) else (made,)


def _to(m: Eager, entry: Move, x: Tensor) -> Tensor:
    (dtype,) = entry.arguments
    return m.cast(x, m.weight_dtype if dtype == "float" else dtype)


def _ge(m: Eager, entry: Move, x: Tensor) -> Tensor:
    return places.ge(m, x)


def _axes(x: Tensor, dim: int) -> int:
    return dim % len(x.sizes)


_MOVES: Mapping[str, Callable[..., Any]] = {
    "reshape": lambda m, e, x: views.reshape(m, x, e.shapes[0]),
    "permute": lambda m, e, x: views.permute(m, x, e.arguments),
    "transpose": lambda m, e, x: views.transpose(m, x, *[_axes(x, dim) for dim in e.arguments]),
    "unsqueeze": lambda m, e, x: views.unsqueeze(m, x, e.arguments[0] % (len(x.sizes) + 1)),
    "squeeze": lambda m, e, x: views.squeeze(m, x, _axes(x, e.arguments[0])),
    "expand": lambda m, e, x: views.expand(m, x, e.shapes[0]),
    "unbind": lambda m, e, x: views.unbind(m, x, _axes(x, e.arguments[0] if e.arguments else 0)),
    "split": lambda m, e, x: views.split(m, x, e.shapes),
    "narrow": lambda m, e, x: views.narrow(m, x, e.shapes[0]),
    "select": lambda m, e, x: views.select(m, x, _axes(x, e.arguments[0]), e.shapes[0]),
    "unfold": lambda m, e, x: views.unfold(m, x, _axes(x, e.arguments[0]), e.shapes[0]),
    "contiguous": lambda m, e, x: views.make_contiguous(m, x),
    "clone": lambda m, e, x: views.clone(m, x),
    "flip": lambda m, e, x: views.flip(m, x),
    "roll": lambda m, e, x: views.roll(m, x, len(e.arguments[1])),
    "detach": lambda m, e, x: views.detach(m, x),
    "to": _to,
    "type_as": lambda m, e, x, other: m.cast(x, other.dtype),
    "exact": lambda m, e, x: transforms.to_float32(m, x),
    "view_as_complex": lambda m, e, x: views.view_as_complex(m, x),
    "argsort": lambda m, e, x: places.argsort(m, x),
    "ge": _ge,
    "gather": lambda m, e, x, index: places.gather(m, x, index),
    "index": lambda m, e, x, index: places.index(m, x, index, e.shapes[0]),
    "cat": lambda m, e, *parts: views.cat(m, parts, e.shapes[0]),
    "pad": lambda m, e, x: views.pad(m, x, e.shapes[0]),
    "rand": lambda m, e: views.filled(m, e.shapes[0], "fp32"),
}
