"""Each tool's reading against its convention: what it should say, and why it does not agree.

The formula tree under a tool's convention predicts the tool's reading. The difference
between the reading and the count is broken into causes; what no cause explains is news
about the tool, or a mistake of ours, and is never passed over.
"""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vitprof.counters.convention import Convention
from vitprof.counters.parts import parts_on_paper
from vitprof.counters.reading import Reading, Tool
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.op import Op


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason why a tool's total is not the count.

    Attributes:
        cause: the reason.
        amount: by how much it raises the tool's total; negative where it lowers it.
        paths: how much of it lies where, equal blocks folded.
    """

    cause: str
    amount: int
    paths: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A submodule of which the tool says something else than its convention predicts."""

    path: str
    reading: int
    predicted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A tool's total beside the count, with every cause.

    Attributes:
        count: the formulas' total.
        reading: the tool's total.
        causes: why the two differ; their amounts add up to `predicted - count`.
        mismatches: submodules where the reading is not the predicted one.
    """

    count: int
    reading: int
    causes: tuple[Cause, ...]
    mismatches: tuple[Mismatch, ...] = ()

    @property
    def predicted(self) -> int:
        """What the tool's convention makes of the formulas."""
        return self.count + sum(cause.amount for cause in self.causes)

    @property
    def unexplained(self) -> int:
        """What no cause explains."""
        return self.reading - self.predicted

    @property
    def explained(self) -> bool:
        """Whether nothing is left, in the total and in every submodule."""
        return not self.unexplained and not self.mismatches


def reconcile_macs(tree: Layer, convention: Convention, reading: Reading) -> Difference:
    """Hold a reading of multiply-accumulates against the tool's convention."""
    by_cause: dict[str, Sums[str]] = {}
    for node in tree.walk(fold=True):
        if isinstance(node.item, Op):
            for cause, amount in convention.causes(node.item).items():
                by_cause.setdefault(cause, Sums())[node.path] += amount * node.repeat
    causes = [
        Cause(cause=cause, amount=sum(paths.values()), paths=dict(paths))
        for cause, paths in by_cause.items()
    ]

    def predict(op: Op) -> int:
        return op.macs.value + sum(convention.causes(op).values())

    return _difference(tree, Measure.MACS, reading, causes, predict)


def reconcile_params(tree: Layer, tool: Tool, reading: Reading) -> Difference:
    """Hold a reading of parameters against how the tool counts tensors that it meets again."""
    again = tool.weighs(parts_on_paper(tree)) - tree.total(Measure.PARAMS)
    causes = [Cause(cause="tensors met again", amount=again, paths={})] if again else []
    return _difference(tree, Measure.PARAMS, reading, causes, lambda op: op.params.value)


def _difference(
    tree: Layer,
    measure: Measure,
    reading: Reading,
    causes: list[Cause],
    predict: Callable[[Op], int],
) -> Difference:
    predicted: Sums[str] = Sums()
    ops = set()
    for node in tree.walk(fold=False):
        if isinstance(node.item, Op):
            ops.add(node.path)
            for path in _around(node.path):
                predicted[path] += predict(node.item)
    return Difference(
        count=tree.total(measure),
        reading=reading.total,
        causes=tuple(sorted(causes, key=lambda cause: -abs(cause.amount))),
        mismatches=tuple(
            Mismatch(path=path, reading=said, predicted=predicted[path])
            for path, said in reading.by_path.items()
            # What a tool says of a single weight of an op is part of what it says of the op.
            if said != predicted[path] and path.rpartition(".")[0] not in ops
        ),
    )


def _around(path: str) -> list[str]:
    """The path, those of all modules around it, and the model's own."""
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) + 1)]
