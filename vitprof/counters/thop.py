"""thop as a tool: it hooks the modules of the classes that it knows, and of no subclass.

It counts a multiply-accumulate of a linear layer or a convolution as one, without biases, and
adds operations of norms, softmaxes and poolings. It sees nothing of work outside of such modules,
as products of activations are. Sums are in float64, which is exact below 2^53.
"""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from vitprof.counters.by_module import at_first_paths, visited
from vitprof.counters.convention import Causes, Convention, Rule, Setting, caller
from vitprof.counters.parts import Part
from vitprof.counters.reading import NoReadingError, Reading, Tool
from vitprof.formulas.layer import ancestors, join
from vitprof.formulas.op import BatchNorm, Called, Conv, Elementwise, LayerNorm, Linear, Op, Shape
from vitprof.formulas.work import Work
from vitprof.values.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn

_MACS, _PARAMS = 0, 1  # places in what `thop.profile` returns
_EXACT = 2**53  # float64 holds every integer up to here


def params(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return the second of what `thop.profile` returns: the parameters of the modules it hooks.

    Raises:
        NoReadingError: there are no inputs, and it counts the parameters of what they call.
    """
    if not inputs and not keywords:
        raise NoReadingError("counts the parameters of what a pass calls; give the inputs")
    return _profile(module, inputs, keywords, _PARAMS)


def macs(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return the first of what `thop.profile` returns, in total and by path."""
    return _profile(module, inputs, keywords, _MACS)


def _profile(
    module: nn.Module, inputs: tuple[Tensor, ...], keywords: dict[str, Tensor], which: int
) -> Reading:
    from thop import profile

    from vitprof.modules.flat import Held

    held = Held(module, tuple(keywords))
    given = (*inputs, *keywords.values())
    *totals, layers = profile(held, inputs=given, verbose=False, ret_layer_info=True)
    if totals[which] > _EXACT:
        raise OverflowError("it adds in float64, which does not hold every number above 2^53")
    listed: dict[str, int] = {}

    def walk(path: str, of: tuple[Any, ...]) -> None:
        listed[path] = int(of[which])
        for name, inside in of[2].items():
            walk(join(path, name), inside)

    walk("", layers["module"])
    by_path, aside = at_first_paths(module, listed)
    if which == _MACS:
        aside |= _hooked_again(module, by_path)
    return Reading(total=int(totals[which]), by_path=by_path, aside=aside)


def _hooked_again(module: nn.Module, by_path: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return what is counted by further hooks of a shared module, of which it has one a place."""
    from vitprof.modules.home import home_of

    places = Sums(id(part) for _, part in visited(module))
    further = {
        path: by_path[path] // places[id(part)] * (places[id(part)] - 1)
        for path, part in module.named_modules()
        if by_path.get(path)
        and places[id(part)] > 1
        and is_hooked(type(part).__name__, home_of(part))
    }
    return {"a shared module has a hook for each of its places": further} if further else {}


def convention(setting: Setting) -> Convention:
    """Return thop's rules, which depend on the mode for PReLU alone."""

    def call(op: Called) -> Causes:
        if caller(op) == "PReLU" and not setting.train:
            return _written(op)
        return _call(op)

    return Convention({**_RULES, Work.CALL: call})


def predict_params(parts: list[Part]) -> int:
    """Return the parameters of the modules that thop hooks, a tensor at each of them."""
    return sum(sum(part.tensors.values()) for part in parts if is_hooked(part.type, part.home))


def hooked_by_path(parts: list[Part]) -> dict[str, int]:
    """Return what `predict_params` does, at and below each path."""
    by_path: Sums[str] = Sums()
    for part in parts:
        counted = predict_params([part])
        for path in ancestors(part.path):
            by_path[path] += counted
    return dict(by_path)


def is_hooked(type: str, home: str) -> bool:
    """Return True if thop counts a module of this class."""
    return type in _HOOKED and not home


def _contraction(op: Linear | Conv) -> Causes:
    return {} if caller(op) in _HOOKED else _unseen(op)


def _unseen(op: Op) -> Causes:
    return {"what no known module computes is not seen": -op.macs.value}


def _norm(op: LayerNorm | BatchNorm) -> Causes:
    return _of_norm(caller(op), product(op.shape).value, affine=True)


def _of_norm(of: str, elements: int, *, affine: bool) -> Causes:
    each = (4 if affine else 2) if of in _NORMS else 0
    return {f"{of}, {each} per element": each * elements}


def _softmax(op: Elementwise) -> Causes:
    (along,) = op.dims
    return _of_softmax(caller(op), product(op.axes).value, op.axes[along].value)


def _of_softmax(of: str, elements: int, length: int) -> Causes:
    if of != "Softmax":
        return {}
    return {"Softmax, 3 per element less 1 per row": 3 * elements - elements // length}


def _average_pool(op: Elementwise) -> Causes:
    return _written(op) if caller(op) in _HOOKED else {}


def _adaptive_pool(op: Elementwise) -> Causes:
    return _of_adaptive_pool(op, op.axes) if caller(op) in _HOOKED else {}


def _written(op: Op, each: int = 1) -> Causes:
    return {f"{caller(op)}, {each} per element written": each * product(op.shape).value}


def _call(op: Called) -> Causes:
    """Return what the hook of the module that calls a function adds, which is nothing for most."""
    of, name = caller(op), op.function.removeprefix("aten::")
    if of not in _HOOKED:
        return _unseen(op)
    if of.startswith("Conv") and name.startswith("conv"):
        return _convolution(op, of)
    if name == "softmax" and op.dims:
        along = op.dims[0]
        return _of_softmax(of, product(op.out).value, op.out[along].value)
    if name.endswith("_norm"):
        return _of_norm(of, product(op.out).value, affine="affine" in op.detail)
    if of.startswith("AvgPool"):
        return _written(op)
    if of.startswith("AdaptiveAvgPool"):
        return _of_adaptive_pool(op, op.operands[0])
    if of.startswith("Upsampl"):
        return _written(op, _OF_UPSAMPLING.get(name, 0))
    return {} if of == "Linear" else _unseen(op)


def _convolution(op: Called, of: str) -> Causes:
    """Count the output times a kernel of each input channel, for a transposed one, too."""
    x, weight = op.operands[:2]
    inputs = weight[1].value
    if of.startswith("ConvTranspose"):
        groups = op.out[1].value // weight[1].value
        inputs = x[1].value // groups
    counted = product(op.out).value * inputs * product(weight[2:]).value
    return {f"{of}, by its output": counted - op.macs.value}


def _of_adaptive_pool(op: Op, read: Shape) -> Causes:
    written = op.shape
    kernel = prod(x.value / y.value for x, y in zip(read[2:], written[2:], strict=True))
    counted = int((kernel + 1) * product(written).value)
    return {f"{caller(op)}, 1 and its kernel per element written": counted}


_NORMS = frozenset(
    {
        *(f"{kind}Norm{axes}d" for kind in ("Batch", "Instance") for axes in (1, 2, 3)),
        *("LayerNorm", "SyncBatchNorm"),
    }
)
_OF_UPSAMPLING = {
    **{f"upsample_nearest{axes}d": 1 for axes in (1, 2, 3)},
    **{"upsample_linear1d": 5, "upsample_bilinear2d": 11, "upsample_bicubic2d": 224 + 35},
}
_HOOKED = _NORMS | {
    *(f"{kind}{axes}d" for kind in ("Conv", "ConvTranspose") for axes in (1, 2, 3)),
    *(
        f"{kind}{of}Pool{axes}d"
        for kind in ("", "Adaptive")
        for of in ("Avg", "Max")
        for axes in (1, 2, 3)
    ),
    *("Linear", "Softmax", "Dropout", "PReLU", "ReLU", "ReLU6", "LeakyReLU"),
    *("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d", "ZeroPad2d", "PixelShuffle"),
    *("RNNCell", "GRUCell", "LSTMCell", "RNN", "GRU", "LSTM"),
}

_RULES: dict[Work, Rule] = {
    Work.LINEAR: _contraction,
    Work.CONV: _contraction,
    Work.MATMUL: _unseen,
    Work.FUSED_ATTENTION: _unseen,
    Work.LAYER_NORM: _norm,
    Work.BATCH_NORM: _norm,
    Work.SOFTMAX: _softmax,
    Work.AVERAGE_POOL: _average_pool,
    Work.ADAPTIVE_POOL: _adaptive_pool,
}

THOP = Tool(
    name="thop",
    package="thop",
    params=params,
    macs=macs,
    predict_params=predict_params,
    predict_by_path=hooked_by_path,
    params_differ="modules of known classes alone, shared and tied tensors at each",
    convention=convention,
    extra="tools",
)
