"""Published figures, and how whoever published them counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from vitprof.counters.convention import Convention
from vitprof.counters.fvcore import IN_EVAL
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import Conv, MatMul, Op
from vitprof.formulas.totals import totals
from vitprof.formulas.work import Work
from vitprof.values.arithmetic import derive

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True, slots=True)
class Counting:
    """One way to count a model.

    Attributes:
        says: what is counted.
        of: the count of a formula tree.
    """

    says: str
    of: Callable[[Layer], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure as it was published.

    Attributes:
        measure: parameters or MACs.
        printed: its digits and unit, `86,567,656` or `17.58 G`.
        source: paper and table, or library and file.
        counting: how it was counted, a key of `COUNTINGS`.
        layer: the layer whose count it holds, with `beside`; the whole model without.
        beside: derivation of what it counts that is not in that layer.
        note: what is wrong with it, or what it leaves out.
    """

    measure: Measure
    printed: str
    source: str
    counting: str
    layer: str = ""
    beside: str = "0"
    note: str = ""

    def counted(self, model: Model) -> int:
        """What our formulas give for `model`, counted as the figure was."""
        tree = model.formula()
        if self.layer:
            tree = next(
                child
                for child in tree.children
                if isinstance(child, Layer) and child.name == self.layer
            )
        return COUNTINGS[self.counting].of(tree) + derive(self.beside)

    def agrees(self, model: Model) -> bool:
        """Whether that is the figure, within half a unit of its last digit."""
        digits, _, unit = self.printed.replace(",", "").partition(" ")
        step = Fraction(_UNITS[unit], 10 ** len(digits.partition(".")[2]))
        return abs(self.counted(model) - Fraction(digits) * _UNITS[unit]) <= step / 2


def _by(convention: Convention) -> Callable[[Layer], int]:
    def total(tree: Layer) -> int:
        return sum(
            (node.item.macs.value + sum(convention.causes(node.item).values())) * node.repeat
            for node in tree.walk(fold=True)
            if isinstance(node.item, Op)
        )

    return total


def _headless(tree: Layer) -> int:
    heads = (item for item in tree.children if isinstance(item, Op) and item.type == "Linear")
    return tree.total(Measure.PARAMS) - sum(head.params.value for head in heads)


def _unseen(op: MatMul) -> Mapping[str, int]:
    return {"fused attention has no rule": -op.macs.value}


def _depthwise_unseen(op: Conv) -> Mapping[str, int]:
    return {"padding 'same' has no rule": -op.macs.value if op.inputs.value == 1 else 0}


COUNTINGS: Mapping[str, Counting] = {
    "parameters": Counting("all parameters", lambda tree: tree.total(Measure.PARAMS)),
    "trained": Counting(
        "trained parameters", lambda tree: totals(tree, Measure.PARAMS)["trainable"]
    ),
    "headless": Counting("parameters without the head's", _headless),
    "contractions": Counting("MACs of contractions", _by(Convention({}))),
    "flops": Counting("FLOPs, 2 × MACs", lambda tree: 2 * tree.total(Measure.MACS)),
    "fvcore": Counting(
        "fvcore's: MACs, 5 an element of a LayerNorm, 2 of a BatchNorm", _by(Convention(IN_EVAL))
    ),
    "fvcore, fused": Counting(
        "fvcore's without the products of attention, for whose fused kernel it has no rule",
        _by(Convention({**IN_EVAL, Work.MATMUL: _unseen})),
    ),
    "fvcore, depthwise": Counting(
        "fvcore's without the depthwise convolutions, for whose padding it has no rule",
        _by(Convention({**IN_EVAL, Work.CONV: _depthwise_unseen})),
    ),
}


def params(printed: str, source: str, counting: str = "parameters", **more: str) -> Figure:
    """A published number of parameters."""
    return Figure(measure=Measure.PARAMS, printed=printed, source=source, counting=counting, **more)


def macs(printed: str, source: str, counting: str = "contractions", **more: str) -> Figure:
    """A published number of multiply-accumulates, or of FLOPs."""
    return Figure(measure=Measure.MACS, printed=printed, source=source, counting=counting, **more)
