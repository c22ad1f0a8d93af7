"""ptflops' backend `pytorch` as a tool: it hooks modules, and replaces functions of torch.

It counts a multiply-accumulate of a linear layer or a convolution as one, and one for each bias
that is added. Norms, activations, softmaxes and poolings count by the element, and twice if a
module that it hooks calls a function that it replaces. Products of activations are not seen if
they are spelled `@`, nor is a fused attention.
"""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Sequence
from itertools import zip_longest
from math import prod
from typing import TYPE_CHECKING, Any

from vitprof.counters.by_module import at_first_paths, counted_by_module, visited
from vitprof.counters.convention import Causes, Convention, Rule, Setting, caller, sees_all
from vitprof.counters.fvcore import hides_fast_path
from vitprof.counters.parts import each_trained_once, trained_by_path
from vitprof.counters.patched import not_seen, spelled
from vitprof.counters.reading import Reading, Tool
from vitprof.formulas.layer import Layer
from vitprof.formulas.op import (
    BatchNorm,
    Called,
    Conv,
    Elementwise,
    FusedAttention,
    LayerNorm,
    Linear,
    MatMul,
    Op,
)
from vitprof.formulas.work import Work
from vitprof.values.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn


BIASES = "biases, 1 per element"


def params(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return the parameters that take gradients, in total and by path."""
    from ptflops.pytorch_engine import get_model_parameters_number

    by_path = {path: get_model_parameters_number(part) for path, part in module.named_modules()}
    return Reading(total=by_path[""], by_path=by_path)


def macs(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return what the backend `pytorch` counts of a whole batch, in total and by path.

    ptflops divides what modules count by the batch, but not what functions do, unless it is given
    inputs by name: here nothing is divided.
    """
    from ptflops import pytorch_engine as engine

    from vitprof.modules.flat import Held

    counted: list[Any] = []
    held: Any = engine.add_flops_counting_methods(Held(module, tuple(keywords)))
    held.start_flops_count(ost=None, verbose=False, ignore_list=[])
    engine.patch_functional(counted)  # what it puts into torch and the module, `restored` takes out
    engine.patch_tensor_ops(counted)
    with counted_by_module(module, lambda: _sum(counted)) as by_call:
        held(*inputs, *keywords.values())
    part: Any
    for part in held.modules():  # as `compute_average_flops_cost` does
        part.accumulate_flops = engine.accumulate_flops.__get__(part)
    total = int(held.accumulate_flops()) + _sum(counted)
    listed = {path: int(engine.accumulate_flops(part)) for path, part in visited(module)}
    by_path, aside = at_first_paths(module, listed)
    hooked = [path for path, part in module.named_modules() if engine.is_supported_instance(part)]
    by_path = {
        path: by_path[path] + by_call[path]
        for path in by_call
        # The total has nothing of what is in a module with a hook.
        if not any(path.startswith(f"{around}.") for around in hooked if around)
    }
    return Reading(total=total, by_path={**by_path, "": total}, aside=aside)


def _sum(counted: list[Any]) -> int:
    return sum(map(int, counted))


def convention(setting: Setting) -> Convention:
    """Return the backend's rules."""
    hides = hides_fast_path if setting.takes_fast_paths else sees_all

    def unseen(layer: Layer) -> str:
        attention = _attention_of(layer)
        return f"layers in {attention} are not counted" if attention else hides(layer)

    return Convention(_RULES, unseen=unseen, itself=_attention)


def _attention_of(layer: Layer) -> str:
    """Return the class of an attention that has a hook of its own; empty if there is none."""
    if layer.type == "MultiheadAttention" and not layer.home:
        return layer.type
    return "timm's Attention" if layer.type == "Attention" and layer.home in _TIMM else ""


def _attention(layer: Layer) -> Causes:
    """Return what the hook of an attention adds, and what functions in it do.

    The hook of timm's counts the scale of the queries, both products and the softmax; that of
    torch's also the projections, of which the tool takes keys and values to be as wide as queries.
    """
    attention = _attention_of(layer)
    inside = [node.item for node in layer.walk(fold=False) if isinstance(node.item, Op)]
    sizes = next((found for found in map(_heads, inside) if found), None)
    if not attention or sizes is None:
        return {}
    batch, heads, queries, keys, width = sizes
    counted = queries * heads * width + heads * queries * keys * (2 * width + 1)
    if attention == "MultiheadAttention":
        dim, bias = heads * width, any(isinstance(op, Linear) and op.bias for op in inside)
        counted += (queries + 2 * keys) * dim * (dim + bias) + queries * dim * (dim + 1)
    by_functions = sum(_by_functions(op) for op in inside)
    return {f"{attention}, by its hook": batch * counted, "functions in it": by_functions}


def _heads(op: Op) -> tuple[int, ...] | None:
    """Return batch, heads, queries, keys and head dim of the first product of an attention."""
    if isinstance(op, FusedAttention):
        lead, sizes = op.lead, (op.queries, op.keys, op.head_dim)
    elif isinstance(op, MatMul):
        lead, sizes = op.lead, (op.rows, op.cols, op.inner)
    else:
        return None
    return tuple(size.value for size in (*lead, *sizes)) if len(lead) == 2 else None


def _by_functions(op: Op) -> int:
    """Return what functions that stand in place of torch's count of an op."""
    shapes = [tuple(size.value for size in shape) for shape in op.reads]
    names = op.spelled or ()
    read = prod(shapes[0]) if shapes else 0
    elements = _replaced_by(names, read, product(op.shape).value)
    return sum(elements.values()) + (_of_products(names, shapes) if len(shapes) > 1 else 0)


def _contraction(op: Linear | Conv) -> Causes:
    if caller(op) not in _OF_WEIGHTS:
        return not_seen(op)
    return {BIASES: product(op.shape).value if op.bias else 0}


def _product(op: Op) -> Causes:
    seen = len(_PRODUCTS.intersection(spelled(op)))
    return {} if seen else not_seen(op)


def _norm(op: LayerNorm | BatchNorm) -> Causes:
    return _hooked(op, product(op.shape).value, product(op.shape).value, affine=True)


def _elements(op: Elementwise) -> Causes:
    read, written = product(op.axes).value, product(op.shape).value
    return {**_hooked(op, read, written), **_replaced_by(spelled(op), read, written)}


def _hooked(op: Op, read: int, written: int, *, affine: bool = False) -> Causes:
    """Return what the hook of the module that calls an op adds."""
    of = caller(op)
    if of in _BY_WRITTEN:
        return {f"{of}, 1 per element written": written}
    if of in _BY_READ:
        each = 1 + (affine and of != "LayerNorm")
        return {f"{of}, {each} per element read": each * read}
    return {}


def _replaced_by(names: Sequence[str], read: int, written: int) -> Causes:
    """Return what the functions that stand in place of torch's add."""
    causes: Sums[str] = Sums()
    for name in names:
        if name in _FUNCTIONS:
            causes[f"{name}, 1 per element read"] += read
        elif name in _RESIZING:
            causes[f"{name}, 1 per element written"] += written
    return causes


def _call(op: Called) -> Causes:
    of, name = caller(op), op.function.removeprefix("aten::")
    shapes = [tuple(size.value for size in shape) for shape in op.operands]
    read, written = prod(shapes[0]) if shapes else 0, product(op.out).value
    names = op.spelled or ()
    causes = {**_replaced_by(names, read, written), **_of_call(op, names, shapes)}
    if name.endswith(_OF_HOOKED):
        causes |= _hooked(op, read, written, affine="affine" in op.detail)
    if of == "Upsample":
        causes["Upsample, 1 per element written of one image"] = written // op.out[0].value
    for spelling in _BROADCASTING.intersection(names):
        causes[f"{spelling}, 1 per element"] = _broadcast(shapes)
    return causes


def _of_call(op: Called, names: Sequence[str], shapes: list[tuple[int, ...]]) -> Causes:
    """Return what a contraction adds."""
    if caller(op) in _OF_WEIGHTS:
        return {BIASES: product(op.out).value if len(shapes) > 2 else 0}
    if not op.products:
        return {}
    counted = _of_products(names, shapes)
    return {f"{op.words}, by its operands": counted - op.macs.value} if counted else not_seen(op)


def _of_products(names: Sequence[str], shapes: list[tuple[int, ...]]) -> int:
    """Return what ptflops' rules for matrix products count of a call."""
    total = 0
    for name in names:
        if name in _PRODUCTS:
            total += prod(shapes[0]) * shapes[1][-1]
        elif name in _WITH_ADDEND:
            total += prod(shapes[1]) * shapes[2][-1] + prod(shapes[0])
    return total


def _broadcast(shapes: list[tuple[int, ...]]) -> int:
    """Return the elements of two shapes, whose axes ptflops aligns from the first on."""
    pairs = zip_longest(shapes[0], shapes[-1], fillvalue=1)
    return prod(max(pair) for pair in pairs)


_TIMM = {"timm.layers.attention", "timm.models.vision_transformer"}
# Ends of the functions that the modules with hooks call.
_OF_HOOKED = ("_norm", "elu", "relu6", "hardtanh", *(f"pool{axes}d" for axes in (1, 2, 3)))
_OF_WEIGHTS = frozenset(
    {"Linear"} | {f"Conv{kind}{axes}d" for kind in ("", "Transpose") for axes in (1, 2, 3)}
)
_BY_WRITTEN = frozenset({"GELU", "ReLU", "PReLU", "ELU", "LeakyReLU", "ReLU6"})
_BY_READ = frozenset(
    {"LayerNorm", "GroupNorm"}
    | {f"{kind}Norm{axes}d" for kind in ("Batch", "Instance") for axes in (1, 2, 3)}
    | {
        f"{kind}{of}Pool{axes}d"
        for kind in ("", "Adaptive")
        for of in ("Avg", "Max")
        for axes in (1, 2, 3)
    }
)
_PRODUCTS = frozenset(
    f"{place}.{name}" for place in ("torch", "Tensor") for name in ("matmul", "mm", "bmm")
)
_WITH_ADDEND = frozenset({"torch.addmm", "Tensor.addmm", "torch.baddbmm"})
_BROADCASTING = frozenset(
    f"{place}.{name}" for place in ("torch", "Tensor") for name in ("mul", "add")
)
_FUNCTIONS = frozenset(
    {f"F.{name}" for name in ("relu", "prelu", "elu", "relu6", "gelu", "silu", "softmax")}
    | {
        f"F.{kind}{of}_pool{axes}d"
        for kind in ("", "adaptive_")
        for of in ("avg", "max")
        for axes in (1, 2, 3)
    }
)
_RESIZING = frozenset({"F.upsample", "F.interpolate"})
_ACTIVATIONS = (Work.GELU, Work.RELU, Work.SILU, Work.ELU, Work.SOFTMAX)

_RULES: dict[Work, Rule] = {
    Work.LINEAR: _contraction,
    Work.CONV: _contraction,
    Work.MATMUL: _product,
    Work.FUSED_ATTENTION: _product,
    Work.LAYER_NORM: _norm,
    Work.BATCH_NORM: _norm,
    **dict.fromkeys((*_ACTIVATIONS, Work.AVERAGE_POOL, Work.ADAPTIVE_POOL), _elements),
    Work.CALL: _call,
}

PTFLOPS = Tool(
    name="ptflops",
    package="ptflops",
    params=params,
    macs=macs,
    predict_params=each_trained_once,
    predict_by_path=trained_by_path,
    params_differ="parameters that take no gradient are not counted",
    convention=convention,
    needs_data=lambda module: "it would count linear layers and convolutions twice",
    extra="tools",
)
