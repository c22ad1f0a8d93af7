"""torchprofile as a tool: it traces the forward pass, as fvcore does.

It counts a multiply-accumulate of a contraction as one, and adds one for each element that a
norm with a gain, a product of elements, a mean or an average pooling writes. An operator without
a rule counts as 0. Products of sizes, such as `rows * columns` in a `reshape`, are operators of a
trace, too, and count as 1 each.
"""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

from vitprof.counters.by_module import calls_of
from vitprof.counters.convention import Causes, Convention, Rule, Setting, sees_all
from vitprof.counters.fvcore import hides_fast_path
from vitprof.counters.parts import each_tensor_once
from vitprof.counters.reading import NoReadingError, Reading, Tool
from vitprof.formulas.layer import ancestors
from vitprof.formulas.op import Called, Conv, Elementwise, Op
from vitprof.formulas.work import Work
from vitprof.values.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn

NO_PARAMETERS = "counts no parameters"
OF_SIZES = "products of sizes, 1 each"
PRODUCTS = "products of elements, 1 per element"


def params(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Say that torchprofile counts no parameters.

    Raises:
        NoReadingError: always.
    """
    raise NoReadingError(NO_PARAMETERS)


def macs(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return what `torchprofile.profile_macs` counts, in total and by path."""
    from torchprofile import profile_macs

    from vitprof.modules.flat import Flat

    flat = Flat(module, tuple(keywords))
    with _scopes(module):
        listed: Any = profile_macs(flat, (*inputs, *keywords.values()), reduction=None)
    by_path = dict.fromkeys((path for path, _ in module.named_modules()), 0)
    of_sizes: Sums[str] = Sums()
    for node, count in listed.items():
        path = node.scope.rpartition("/")[2].removeprefix(_ROOT)
        for around in ancestors(path):
            by_path[around] += count
        if _is_size(node.outputs[0]):
            of_sizes[path] += count
    return Reading(
        total=sum(listed.values()),
        by_path=by_path,
        aside={OF_SIZES: dict(of_sizes)} if of_sizes else {},
    )


_ROOT = "path:"  # before each path: a scope cannot be empty


@contextmanager
def _scopes(module: nn.Module) -> Iterator[None]:
    """Let operators of a trace have the path of the module that runs as their scope."""
    import torch

    def enter(path: str) -> None:
        state = torch._C._get_tracing_state()
        if state is not None:
            state.push_scope(f"{_ROOT}{path}")

    def leave(path: str) -> None:
        state = torch._C._get_tracing_state()
        if state is not None:
            state.pop_scope()

    with calls_of(module, enter, leave):
        yield


def _is_size(variable: Any) -> bool:
    """Return True if a variable of a trace is a number of dimensions that the trace holds."""
    return variable.dtype in {"long", "int"} and variable.shape == []


def convention(setting: Setting) -> Convention:
    """Return torchprofile's rules, which depend on the mode for drop paths alone."""
    rules = {**_RULES}
    if setting.train:
        rules[Work.DROP_PATH] = _products
    return Convention(rules, unseen=hides_fast_path if setting.takes_fast_paths else sees_all)


def _norm(op: Op) -> Causes:
    return {"norms with a gain, 1 per element": product(op.shape).value}


def _products(op: Op) -> Causes:
    return {PRODUCTS: product(op.shape).value}


def _scale(op: Elementwise) -> Causes:
    return {} if op.quotient else _products(op)


def _means(op: Op) -> Causes:
    return {"means, 1 per element written": product(op.shape).value}


def _of_identity(op: Elementwise) -> Causes:
    rows, columns = op.axes[-2:]
    return {PRODUCTS: product((rows, columns)).value}


def _squared_error(op: Elementwise) -> Causes:
    means = product(op.axes[:-1]).value  # one for each place, which is then multiplied by the mask
    return {
        "means, 1 per element written": means,
        PRODUCTS: means,
    }


def _conv(op: Conv) -> Causes:
    if not op.padding:
        return {}
    return {"convolutions with padding as a word have no rule": -op.macs.value}


def _call(op: Called) -> Causes:
    """Return torchprofile's rules for a function by its name, as a TorchScript trace calls it."""
    name, macs = op.function.removeprefix("aten::"), op.macs.value
    if not op.used:
        return {"what nothing depends on is not traced": -macs}
    if "autograd.Function" in op.detail:
        return {"what an autograd.Function calls is not traced": -macs}
    operands = [tuple(size.value for size in shape) for shape in op.operands]
    written = product(op.out).value
    if name in _OF_ELEMENTS:
        cause, each = _OF_ELEMENTS[name]
        return {cause: each * written}
    if name in _NORMS:
        return _norm(op) if "affine" in op.detail else {}
    if name == "einsum":
        return {"einsum, the product of all its axes": _einsum(op.detail, operands) - macs}
    if name.startswith("conv"):
        weight = operands[1]
        read = weight[1] if op.out[1].value == weight[0] else weight[0]
        return {f"{name}, by its output": written * read * prod(weight[2:]) - macs}
    if name in _BY_OPERANDS:
        return {}
    return {f"{name} has no rule": -macs}


def _einsum(equation: str, shapes: list[tuple[int, ...]]) -> int:
    if "..." in equation:
        return 0
    inputs = equation.partition("->")[0].replace(" ", "").split(",")
    sizes = {
        letter: size
        for letters, shape in zip(inputs, shapes, strict=True)
        for letter, size in zip(letters, shape, strict=True)
    }
    return prod(sizes.values())


_BY_OPERANDS = {"linear", "matmul", "bmm", "addmm", "addmv", "baddbmm", "lstm"}
_BY_OPERANDS |= {"scaled_dot_product_attention"}
_NORMS = {"layer_norm", "group_norm", "instance_norm", "batch_norm"}
_OF_ELEMENTS = {
    "mul": (PRODUCTS, 1),
    "mean": ("means, 1 per element written", 1),
    **{
        f"{kind}avg_pool{axes}d": ("means, 1 per element written", 1)
        for kind in ("", "adaptive_")
        for axes in (1, 2, 3)
    },
    "leaky_relu": ("leaky_relu, 1 per element", 1),
    "upsample_bilinear2d": ("upsample_bilinear2d, 4 per element written", 4),
    "grid_sampler": ("grid_sampler, 4 per element written", 4),
}

_RULES: dict[Work, Rule] = {
    Work.LAYER_NORM: _norm,
    Work.BATCH_NORM: _norm,
    Work.GROUP_NORM: _norm,
    Work.AFFINE: _products,
    Work.LAYER_SCALE: _products,
    Work.SCALE: _scale,
    Work.MULTIPLY: _products,
    Work.SCAN: _products,
    Work.COMPLEX_MULTIPLY: _products,
    Work.SUBTRACT_FROM_IDENTITY: _of_identity,
    Work.MEAN: _means,
    Work.AVERAGE_POOL: _means,
    Work.ADAPTIVE_POOL: _means,
    Work.SQUARED_ERROR: _squared_error,
    Work.CONV: _conv,
    Work.CALL: _call,
}

TORCHPROFILE = Tool(
    name="torchprofile",
    package="torchprofile",
    params=params,
    macs=macs,
    predict_params=each_tensor_once,
    convention=convention,
    extra="tools",
)
