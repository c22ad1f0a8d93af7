"""Ops of a captured forward pass: what each written call is, with its dimensions as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from math import prod
from typing import Any

from vitprof.captured.capture import Call
from vitprof.captured.kernels import Product
from vitprof.formulas.op import (
    BatchNorm,
    Called,
    Conv,
    FusedAttention,
    LayerNorm,
    Linear,
    MatMul,
    Op,
    Pass,
    Passes,
    RMSNorm,
    Shape,
)
from vitprof.formulas.op.passes import summed
from vitprof.formulas.work import Work
from vitprof.values.size import Size, product

Numbers = tuple[int, ...]
Make = Callable[[str, str, Sequence[Shape]], Op]


@dataclass(frozen=True, slots=True)
class Draft:
    """An op whose dimensions are numbers.

    Attributes:
        path: path of the module whose forward called it.
        name: name of the function, without its namespace.
        key: what else two captures of the same call have in common.
        shapes: its dimensions.
        make: makes the op from a name, the class name of the submodule that computes it, or an
            empty one, and these shapes as sizes.
        standard: True if it is an op that models on paper have, too.
        is_counted: True if it has multiply-accumulates, or a tool counts something of it.
        spelled: attributes of `torch`, `F` and `Tensor` through which it was called.
    """

    path: str
    name: str
    key: tuple[object, ...]
    shapes: tuple[Numbers, ...]
    make: Make
    standard: bool = False
    is_counted: bool = True
    spelled: tuple[str, ...] = ()


def draft(call: Call, *, alone: bool, train: bool, trains: bool = False) -> Draft | None:
    """Return the op of a written call; None if it only moves data.

    Args:
        call: the call.
        alone: True if it is all that a submodule without submodules does.
        train: True if the model is in train mode.
        trains: True if a training step was captured.
    """
    made = _drafted(call, alone=alone, train=train)
    return made if made is None or not trains else _followed(made, call)


def _drafted(call: Call, *, alone: bool, train: bool) -> Draft | None:
    usual = call.overload != "out" and not call.hidden
    usual &= call.arguments.get("training", train) == train  # a norm may stay in one mode
    if call.used and usual and (alone or call.function not in _NORMS):
        own = _OPS.get(call.function, _no_op)(call)
        if own is not None:
            return own
    if call.moves and not (call.products or call.gradients) and call.function not in _COUNTED:
        return None
    return _called(call)


_REPEATED = (Pass.BY_INPUT, Pass.BY_WEIGHT, Pass.RECOMPUTED)


def _followed(own: Draft, call: Call) -> Draft:
    """Return the draft of a call in a training step, whose op has the MACs of all its parts."""
    number, gradients, times = len(own.shapes), call.gradients, _multiples(call)

    def make(name: str, type_: str, shapes: Sequence[Shape]) -> Op:
        op, repeated = own.make(name, type_, shapes[:number]), shapes[number:]
        if isinstance(op, Called):
            op.gradients = tuple(
                (one.part or Pass.BY_INPUT, one.kernel, shape, one.groups)
                for one, shape in zip(gradients, repeated, strict=True)
            )
        if op.contracts:
            op.passes = _passes(op.macs, gradients, [product(shape) for shape in repeated], times)
        return op

    key = tuple((one.part, one.kernel, one.groups, len(one.sizes)) for one in gradients)
    return replace(
        own,
        key=(*own.key, key, times and tuple(times.values())),
        shapes=(*own.shapes, *(one.sizes for one in gradients)),
        make=make,
        is_counted=own.is_counted or bool(gradients),
    )


def _is_rebuilt(one: Product) -> bool:
    """Return True if a kernel of the backward pass computes this again itself, as scores."""
    return one.part is Pass.RECOMPUTED and one.kernel.endswith("_backward")


def _multiples(call: Call) -> dict[Pass, int] | None:
    """Return how often each part of the step has a call's MACs; None if one is no multiple."""
    macs = sum(one.macs for one in call.products)
    whole = dict.fromkeys(_REPEATED, 0)
    for one in call.gradients:
        if one.part is not None and not _is_rebuilt(one):
            whole[one.part] += one.macs
    if not macs or any(count % macs for count in whole.values()):
        return None
    return {part: count // macs for part, count in whole.items()}


def _passes(
    macs: Size, gradients: Sequence[Product], sizes: Sequence[Size], times: dict[Pass, int] | None
) -> Passes:
    """Return the MACs of a call in each part of the step.

    Args:
        macs: those of the forward pass.
        gradients: products of the backward pass.
        sizes: multiply-accumulates of each of them.
        times: multiples of the forward pass that they are, by which the formula is shorter.
    """
    rebuilt = summed(tuple(compress(sizes, map(_is_rebuilt, gradients))))
    if times is not None:
        return Passes.of_product(
            macs,
            by_input=times[Pass.BY_INPUT],
            by_weight=times[Pass.BY_WEIGHT],
            recomputed=times[Pass.RECOMPUTED],
            rebuilt=rebuilt,
        )
    whole = {
        part: summed(tuple(compress(sizes, [one.part is part for one in gradients])))
        for part in _REPEATED
    }
    return Passes(
        forward=macs,
        by_input=whole[Pass.BY_INPUT],
        by_weight=whole[Pass.BY_WEIGHT],
        recomputed=whole[Pass.RECOMPUTED],
        rebuilt=rebuilt,
        total=summed((macs, *whole.values())),
    )


def _draft(
    call: Call, shapes: tuple[Numbers, ...], make: Make, *key: object, macs: int | None = None
) -> Draft | None:
    """Return a draft of a known op; None if its kernels contract otherwise than it says."""
    if macs is not None and macs != sum(product.macs for product in call.products):
        return None
    return Draft(
        path=call.path,
        name=_short(call),
        key=(call.function, call.spelled, *(len(shape) for shape in shapes), *key),
        shapes=shapes,
        make=make,
        standard=True,
        spelled=call.spelled,
    )


def _short(call: Call) -> str:
    return call.function.partition("::")[2].rstrip("_")


def _linear(call: Call) -> Draft | None:
    if call.function == "aten::addmm":
        if len(call.operands) != 3 or not call.parameters[2]:
            return None
        x, (inputs, outputs), bias = call.operands[1], call.operands[2], True
    else:
        x, weight = call.operands[:2]
        if len(weight) != 2:
            return None
        (outputs, inputs), bias = weight, len(call.operands) > 2

    def make(name: str, type_: str, shapes: Sequence[Shape]) -> Op:
        lead, (ins,), (outs,) = shapes
        functional = not type_
        return Linear(name, lead, ins, outs, bias, functional, reads=((*lead, ins),))

    macs = prod(x) * outputs
    return _draft(call, (x[:-1], (inputs,), (outputs,)), make, bias, macs=macs)


def _conv(call: Call) -> Draft | None:
    x, weight = call.operands[:2]
    out = call.out
    if len(out) != len(weight):
        return None
    bias = len(call.operands) > 2
    # An argument that equals its default does not come here.
    word = str(call.arguments.get("padding", "valid")) if call.overload == "padding" else ""

    def make(name: str, type_: str, shapes: Sequence[Shape]) -> Op:
        (batch,), positions, kernel, (ins,), (outs,), read = shapes
        functional = not type_
        return Conv(
            name, batch, positions, kernel, ins, outs, bias, functional, word, reads=(read,)
        )

    shapes = (out[:1], out[2:], weight[2:], (weight[1],), (weight[0],), x)
    return _draft(call, shapes, make, bias, word, macs=out[0] * prod(out[2:]) * prod(weight))


def _matmul(call: Call) -> Draft | None:
    a, b = call.operands
    if len(a) < 2 or len(b) < 2 or prod(a[:-2]) != prod(call.out[:-2]):
        return None

    def make(name: str, type_: str, shapes: Sequence[Shape]) -> Op:
        lead, (rows, inner, cols) = shapes
        reads = ((*lead, rows, inner), (*lead, inner, cols))
        return MatMul(name, lead, rows, inner, cols, reads=reads)

    shapes = (call.out[:-2], (a[-2], a[-1], b[-1]))
    return _draft(call, shapes, make, macs=prod(a) * b[-1])


def _attention(call: Call) -> Draft | None:
    q, k, v = call.operands[:3]
    if q[-1] != v[-1]:
        return None

    apart = not any("attention" in product.kernel for product in call.products)

    def make(name: str, type_: str, shapes: Sequence[Shape]) -> Op:
        lead, (queries, keys, head_dim) = shapes
        read, others = (*lead, queries, head_dim), (*lead, keys, head_dim)
        reads = (read, others, others)
        return FusedAttention(name, lead, queries, keys, head_dim, apart, reads=reads)

    shapes = (q[:-2], (q[-2], k[-2], q[-1]))
    return _draft(call, shapes, make, apart, macs=2 * prod(q) * k[-2])


def _layer_norm(call: Call) -> Draft | None:
    if len(call.operands) < 2 or len(call.operands[1]) != 1:
        return None
    x, bias = call.operands[0], len(call.operands) > 2

    def make(name: str, type_: str, shapes: Sequence[Shape]) -> Op:
        lead, (dim,) = shapes
        return LayerNorm(name, lead, dim, bias, reads=((*lead, dim),))

    return _draft(call, (x[:-1], x[-1:]), make, bias)


def _rms_norm(call: Call) -> Draft | None:
    if len(call.operands) != 2 or len(call.operands[1]) != 1:
        return None
    x = call.operands[0]

    def make(name: str, type_: str, shapes: Sequence[Shape]) -> Op:
        lead, (dim,) = shapes
        return RMSNorm(name, lead, dim, reads=((*lead, dim),))

    return _draft(call, (x[:-1], x[-1:]), make)


def _batch_norm(call: Call) -> Draft | None:
    if call.arguments.get("weight") is None or call.arguments.get("bias") is None:
        return None
    x = call.operands[0]

    def make(name: str, type_: str, shapes: Sequence[Shape]) -> Op:
        (rows, channels), positions = shapes
        read = (rows, channels, *positions)
        return BatchNorm(name, rows, channels, positions, reads=(read,))

    return _draft(call, (x[:2], x[2:]), make)


def _called(call: Call) -> Draft:
    """Return the draft of a call with a formula of its own."""
    name, kernels = _short(call), tuple(product.kernel for product in call.products)
    places = len(call.operands)
    detail = _detail(call)
    kind = (
        "" if call.products or call.moves else _KINDS.get(name, name.lstrip("_").replace("_", " "))
    )
    function, used, unknown = call.function.rstrip("_"), call.used, tuple(call.unknown)
    dim = call.arguments.get("dim")
    dims = (dim,) if isinstance(dim, int) else ()
    activations = [place for place, own in enumerate(call.parameters) if not own]

    def make(name: str, type_: str, shapes: Sequence[Shape]) -> Op:
        return Called(
            name,
            function,
            tuple(shapes[:places]),
            shapes[places],
            tuple(zip(kernels, shapes[places + 1 :], strict=True)),
            kind,
            detail,
            type_,
            used,
            unknown,
            dims,
            reads=tuple(shapes[place] for place in activations),
        )

    shapes = (*call.operands, call.out, *(product.sizes for product in call.products))
    return Draft(
        path=call.path,
        name=name,
        key=(
            *(function, call.spelled, kernels, detail, used, unknown, dims),
            tuple(len(shape) for shape in shapes),
        ),
        shapes=shapes,
        make=make,
        spelled=call.spelled,
        is_counted=bool(kernels or unknown) or function in _READ,
    )


def _detail(call: Call) -> str:
    """Return what else a call's cost depends on, in words.

    That is the equation of an einsum; of a norm, if it has weights and takes its own statistics.
    """
    said = call.arguments
    words = [said.get("equation", ""), "autograd.Function" * call.hidden]
    if call.function.endswith("_norm"):
        words += ["affine"] * (said.get("weight") is not None)
        words += ["training"] * bool(said.get("training"))
    return " ".join(filter(None, words))


def _no_op(call: Call) -> Draft | None:
    return None


_OPS: dict[str, Callable[[Call], Draft | None]] = {
    "aten::linear": _linear,
    "aten::addmm": _linear,
    **{f"aten::conv{axes}d": _conv for axes in (1, 2, 3)},
    "aten::matmul": _matmul,
    "aten::mm": _matmul,
    "aten::bmm": _matmul,
    "aten::scaled_dot_product_attention": _attention,
    "aten::layer_norm": _layer_norm,
    "aten::rms_norm": _rms_norm,
    "aten::batch_norm": _batch_norm,
}

_COUNTED = {"aten::einsum"}  # what a tool counts even where it only moves data
_READ = _COUNTED | {  # without products, but a tool counts their elements
    *("aten::layer_norm", "aten::group_norm", "aten::instance_norm", "aten::batch_norm"),
    *("aten::upsample_nearest2d", "aten::upsample_bilinear2d", "aten::grid_sampler"),
    "aten::adaptive_avg_pool2d",
}
_NORMS = {"aten::layer_norm", "aten::rms_norm", "aten::batch_norm"}

_KINDS: dict[str, Any] = {
    "add": Work.ADD.value,
    "sub": Work.SUBTRACT.value,
    "rsub": Work.SUBTRACT.value,
    "mul": Work.MULTIPLY.value,
    "div": Work.DIVIDE.value,
    "true_divide": Work.DIVIDE.value,
    "max": Work.MAXIMUM.value,
    "amax": Work.MAXIMUM.value,
    "dropout": Work.DROPOUT.value,
    "avg_pool2d": Work.AVERAGE_POOL.value,
}
