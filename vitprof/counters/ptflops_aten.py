"""ptflops' backend `aten` as a tool: it sees the kernels that run, as FlopCounterMode does.

It counts a multiply-accumulate of a matrix product or a convolution as one, and one for each bias
that the same kernel adds. A fused attention has no rule; on the meta device torch takes it apart
into products, which have one.
"""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vitprof.counters.by_module import calls_of, counted_by_module
from vitprof.counters.convention import Causes, Convention, Rule, Setting, sees_all
from vitprof.counters.flop_counter_mode import hides_fast_path, of_a_cpu
from vitprof.counters.parts import each_trained_once, trained_by_path, unclear_paths
from vitprof.counters.ptflops import BIASES, params
from vitprof.counters.reading import Reading, Tool
from vitprof.formulas.op import Called, Conv, FusedAttention, Linear
from vitprof.formulas.work import Work
from vitprof.values.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn


def macs(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return what the backend `aten` counts, in total and by path."""
    from ptflops.aten_engine import FlopCounterMode

    counter = FlopCounterMode()  # without the module, in which it would leave hooks
    counts = counter.flop_counts

    def until_now() -> int:
        return int(sum(counts["Global"].values()))

    with counter, counted_by_module(module, until_now) as by_path, _added_apart(module) as apart:
        module(*inputs, **keywords)
    total = int(counter.complexity)
    aside = {"biases that another kernel adds": dict(apart)} if apart else {}
    unclear = unclear_paths(module)
    listed = {path: count for path, count in by_path.items() if path not in unclear}
    return Reading(total=total, by_path={**listed, "": total}, aside=aside)


@contextmanager
def _added_apart(module: nn.Module) -> Iterator[Sums[str]]:
    """Yield minus the elements to which another kernel than the product's adds a bias, by path.

    That is so for a linear layer whose input has three axes or more and is not contiguous
    (`aten/src/ATen/native/Linear.cpp`).
    """
    from torch.nn import functional

    linear = functional.linear
    apart: Sums[str] = Sums()
    running: list[str] = []

    def watched(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        made = linear(input, weight, bias)
        if bias is not None and input.dim() > 2 and not input.is_contiguous():
            apart[running[-1]] -= made.numel()
        return made

    functional.linear = watched
    try:
        with calls_of(module, running.append, lambda path: running.pop()):
            yield apart
    finally:
        functional.linear = linear


def convention(setting: Setting) -> Convention:
    """Return the backend's rules: fused attention depends on the device."""
    on_meta = setting.device == "meta"
    of_kernel: dict[Work, Rule] = (
        {Work.CALL: _call_on_meta} if on_meta else {Work.FUSED_ATTENTION: _fused_attention}
    )
    rules = {**_RULES, **of_kernel}
    return Convention(rules, unseen=hides_fast_path if setting.takes_fast_paths else sees_all)


def _biases(op: Linear | Conv) -> Causes:
    return {BIASES: product(op.shape).value if op.bias else 0}


def _fused_attention(op: FusedAttention) -> Causes:
    return {} if op.apart else {"the fused kernel has no rule": -op.macs.value}


def _call(op: Called) -> Causes:
    causes: Sums[str] = Sums()
    for kernel, sizes in op.products:
        if kernel == "aten::addmm":
            *rows, _, columns = sizes
            causes[BIASES] += product((*rows, columns)).value
        elif kernel.endswith("convolution"):
            causes[BIASES] += product(op.out).value if len(op.operands) > 2 else 0
        elif kernel not in _PRODUCTS:
            causes[f"{kernel} has no rule"] -= product(sizes).value
    return causes


def _call_on_meta(op: Called) -> Causes:
    return {cause: n for cause, n in _call(op).items() if not of_a_cpu(cause)}


_PRODUCTS = {"aten::mm", "aten::bmm"}
_RULES: dict[Work, Rule] = {Work.LINEAR: _biases, Work.CONV: _biases, Work.CALL: _call}

PTFLOPS_ATEN = Tool(
    name="ptflops-aten",
    package="ptflops",
    params=params,
    macs=macs,
    predict_params=each_trained_once,
    predict_by_path=trained_by_path,
    params_differ="parameters that take no gradient are not counted",
    convention=convention,
    extra="tools",
)
