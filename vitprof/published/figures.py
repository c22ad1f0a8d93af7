"""Published counts, and the way in which their publishers counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from vitprof.counters.convention import Convention
from vitprof.counters.fvcore import IN_EVAL
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import FFT, Conv, MatMul, Op
from vitprof.formulas.totals import totals
from vitprof.formulas.work import Work
from vitprof.values.arithmetic import derive
from vitprof.values.size import product

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True, slots=True)
class Counting:
    """One way to count a model.

    Attributes:
        says: description of the counted work.
        of: returns the count of a formula tree.
    """

    says: str
    of: Callable[[Layer], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A count as it was published.

    Attributes:
        measure: parameters or MACs.
        printed: its digits and unit prefix, `86,567,656` or `17.58 G`.
        source: paper and table, or library and file.
        counting: its way of counting, a key of `COUNTINGS`.
        layer: name of the child of the model that is counted; the whole model if empty.
        beside: arithmetic for the part of the figure that is not in that layer.
        note: an error in it, or work that it leaves out.
    """

    measure: Measure
    printed: str
    source: str
    counting: str
    layer: str = ""
    beside: str = "0"
    note: str = ""

    def counted(self, model: Model) -> int:
        """Return the count of `model` by our formulas, counted as the figure was."""
        tree = model.formula()
        if self.layer:
            tree = next(
                child
                for child in tree.children
                if isinstance(child, Layer) and child.name == self.layer
            )
        return COUNTINGS[self.counting].of(tree) + derive(self.beside)

    def agrees(self, model: Model) -> bool:
        """True if that count equals the figure within half a unit of its last digit."""
        digits, _, unit = self.printed.replace(",", "").partition(" ")
        step = Fraction(_UNITS[unit], 10 ** len(digits.partition(".")[2]))
        return abs(self.counted(model) - Fraction(digits) * _UNITS[unit]) <= step / 2


def _total_by(convention: Convention) -> Callable[[Layer], int]:
    def total(tree: Layer) -> int:
        return sum(
            (node.item.macs.value + sum(convention.causes(node.item).values())) * node.repeat
            for node in tree.walk(fold=True)
            if isinstance(node.item, Op)
        )

    return total


def _heads(tree: Layer) -> list[Op]:
    return [item for item in tree.children if isinstance(item, Op) and item.type == "Linear"]


def _without_heads(tree: Layer) -> int:
    return tree.total(Measure.PARAMS) - sum(head.params.value for head in _heads(tree))


def _fvcore_without_heads(tree: Layer) -> int:
    whole = COUNTINGS["fvcore"].of(tree)
    return whole - sum(head.macs.value for head in _heads(tree))


def _matmul_without_rule(op: MatMul) -> Mapping[str, int]:
    is_fused = op.name in ("scores", "output")
    return {"fused attention has no rule": -op.macs.value if is_fused else 0}


def _depthwise_without_rule(op: Conv) -> Mapping[str, int]:
    return {"padding 'same' has no rule": -op.macs.value if op.inputs.value == 1 else 0}


def _transform(op: FFT) -> Mapping[str, int]:
    points = product(op.lengths).value
    stages = (points - 1).bit_length()  # the logarithm to base 2, rounded up
    return {"Fourier transforms": product(op.lead).value * points * stages}


COUNTINGS: Mapping[str, Counting] = {
    "parameters": Counting("all parameters", lambda tree: tree.total(Measure.PARAMS)),
    "trained": Counting(
        "trained parameters", lambda tree: totals(tree, Measure.PARAMS)["trainable"]
    ),
    "fixed": Counting(
        "parameters that are not trained", lambda tree: totals(tree, Measure.PARAMS)["fixed"]
    ),
    "headless": Counting("parameters without the head's", _without_heads),
    "contractions": Counting("MACs of contractions", _total_by(Convention({}))),
    "contractions, Fourier": Counting(
        "MACs of contractions, and H × W × D × ⌈log2(H × W)⌉ for each Fourier transform",
        _total_by(Convention({Work.FFT: _transform})),
    ),
    "flops": Counting("FLOPs, 2 × MACs", lambda tree: 2 * tree.total(Measure.MACS)),
    "fvcore": Counting(
        "fvcore's: MACs, 5 per element of a LayerNorm, 2 of a BatchNorm",
        _total_by(Convention(IN_EVAL)),
    ),
    "fvcore, headless": Counting("fvcore's without the head's", _fvcore_without_heads),
    "fvcore, fused": Counting(
        "fvcore's without the products of attention, for whose fused kernel it has no rule",
        _total_by(Convention({**IN_EVAL, Work.MATMUL: _matmul_without_rule})),
    ),
    "fvcore, depthwise": Counting(
        "fvcore's without the depthwise convolutions, for whose padding it has no rule",
        _total_by(Convention({**IN_EVAL, Work.CONV: _depthwise_without_rule})),
    ),
}


def params(printed: str, source: str, counting: str = "parameters", **more: str) -> Figure:
    """Return a published number of parameters."""
    return Figure(measure=Measure.PARAMS, printed=printed, source=source, counting=counting, **more)


def macs(printed: str, source: str, counting: str = "contractions", **more: str) -> Figure:
    """Return a published number of MACs, or of FLOPs."""
    return Figure(measure=Measure.MACS, printed=printed, source=source, counting=counting, **more)
