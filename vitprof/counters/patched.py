"""Tools that put functions of their own in place of torch's, and count what is called by name.

Such a tool sees a function if it is looked up in `torch`, `torch.nn.functional` or
`torch.Tensor` when it is called. A function that a module's code imported by name before is not
seen, and an operator such as `@` only if its method is replaced.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod

from vitprof.counters.convention import Causes, Convention, Rule, Setting, sees_all
from vitprof.counters.fvcore import hides_fast_path
from vitprof.formulas.op import Called, Conv, Op
from vitprof.formulas.work import Work

_ON_PAPER = {  # what vitprof's own modules call, and the submodules of torch in them
    Work.LINEAR: ("F.linear",),
    Work.MATMUL: ("Tensor.__matmul__",),
    Work.FUSED_ATTENTION: ("F.scaled_dot_product_attention",),
    Work.GELU: ("F.gelu",),
    Work.RELU: ("F.relu",),
    Work.SILU: ("F.silu",),
    Work.ELU: ("F.elu",),
    Work.SOFTMAX: ("F.softmax",),
    Work.AVERAGE_POOL: ("F.avg_pool2d",),
    Work.ADAPTIVE_POOL: ("F.adaptive_avg_pool2d",),
}


def spelled(op: Op) -> tuple[str, ...]:
    """Return the attributes of `torch`, `F` and `Tensor` through which an op is called."""
    if op.spelled is not None:
        return op.spelled
    if isinstance(op, Conv):
        return (f"F.conv{len(op.positions)}d",)
    return _ON_PAPER.get(op.work, ())


def not_seen(op: Op) -> Causes:
    """Return the MACs of an op that a tool does not see, by the name of what is called."""
    name = next(iter(spelled(op)), "") or op.words
    return {f"{_OPERATORS.get(name, name)} is not seen": -op.macs.value}


_OPERATORS = {"Tensor.__matmul__": "@", "Tensor.__rmatmul__": "@"}


def convention_of(replaced: Collection[str], setting: Setting) -> Convention:
    """Return the rules of a tool that counts the contractions of functions that it replaces.

    Args:
        replaced: names of functions that it replaces, and whose multiply-accumulates it counts.
        setting: device, mode and gradients.
    """

    def contraction(op: Op) -> Causes:
        seen = sum(name in replaced for name in spelled(op))
        if not seen:
            return not_seen(op)
        return {"functions that call each other are counted each": (seen - 1) * op.macs.value}

    def called(op: Called) -> Causes:
        seen = sum(name in replaced for name in spelled(op))
        if not seen:
            return not_seen(op)
        return {f"{op.words}, by its operands": seen * _of_matrices(op) - op.macs.value}

    kinds = (Work.LINEAR, Work.CONV, Work.MATMUL, Work.FUSED_ATTENTION)
    rules: dict[Work, Rule] = {**dict.fromkeys(kinds, contraction), Work.CALL: called}
    return Convention(rules, unseen=hides_fast_path if setting.takes_fast_paths else sees_all)


def _of_matrices(op: Called) -> int:
    """Return the elements of the first matrix times the last axis of the second."""
    if not op.products:
        return 0
    shapes = [tuple(size.value for size in shape) for shape in op.operands]
    name = op.function.removeprefix("aten::")
    if name in {"addmm", "baddbmm"}:
        shapes = shapes[1:]
    if name in {"linear", "matmul", "mm", "bmm", "addmm", "baddbmm"}:
        columns = shapes[1][0] if name == "linear" else shapes[1][-1]
        return prod(shapes[0]) * columns
    return op.macs.value
