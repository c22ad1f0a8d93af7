"""Reconciliation of a tool's reading with the formulas, by the tool's convention.

The formula tree and the convention predict the reading. The difference between the reading and
the count is split into causes; a remainder means that the tool changed or that a formula is
wrong, and is always reported.
"""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from vitprof.counters.convention import Convention
from vitprof.counters.parts import Part, formula_parts
from vitprof.counters.reading import Reading, Tool
from vitprof.formulas.layer import Layer, Measure, Node, ancestors
from vitprof.formulas.op import Op


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason for the difference between a tool's total and the count.

    Attributes:
        cause: the reason, in words.
        amount: by how much it raises the tool's total; negative if it lowers it.
        paths: the amount by path, equal blocks folded.
    """

    cause: str
    amount: int
    paths: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A submodule whose reading is not the one that the tool's convention predicts."""

    path: str
    reading: int
    predicted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Difference between a tool's total and the count, with every cause.

    Attributes:
        count: the formulas' total.
        reading: the tool's total.
        causes: reasons for the difference; their amounts add up to `predicted - count`.
        mismatches: submodules whose reading is not the predicted one.
    """

    count: int
    reading: int
    causes: tuple[Cause, ...]
    mismatches: tuple[Mismatch, ...] = ()

    @property
    def predicted(self) -> int:
        """Total that the tool's convention predicts from the formulas."""
        return self.count + sum(cause.amount for cause in self.causes)

    @property
    def unexplained(self) -> int:
        """Part of the reading that no cause explains: `reading - predicted`."""
        return self.reading - self.predicted

    @property
    def innermost(self) -> tuple[Mismatch, ...]:
        """Mismatches within which there is no other: where to look first."""
        around = {
            path for one in self.mismatches for path in ancestors(one.path) if path != one.path
        }
        return tuple(one for one in self.mismatches if one.path not in around)

    @property
    def agrees(self) -> bool:
        """True if the tool counts the same, in total and of every submodule."""
        return not self.causes and self.explained

    @property
    def explained(self) -> bool:
        """True if the total and every submodule have the predicted reading."""
        return not self.unexplained and not self.mismatches


def reconcile_macs(
    tree: Layer, convention: Convention, reading: Reading, measure: Measure = Measure.MACS
) -> Difference:
    """Compare a reading of multiply-accumulates with the one that the convention predicts.

    Args:
        tree: the formulas.
        convention: rules of the tool.
        reading: what it says.
        measure: `MACS` of a forward pass, or those of `TRAINING`.
    """
    by_cause: dict[str, Sums[str]] = {}
    for node in _seen(tree, convention, fold=True):
        for cause, amount in convention.causes(node.item).items():
            by_cause.setdefault(cause, Sums())[node.path] += amount * node.repeat
    if reading.aside:
        folded = {path: node.path for node in tree.walk(fold=True) for path in node.paths}
        for cause, paths in reading.aside.items():
            for path, amount in paths.items():
                by_cause.setdefault(cause, Sums())[folded.get(path, path)] += amount
    causes = [
        Cause(cause=cause, amount=sum(paths.values()), paths=dict(paths))
        for cause, paths in by_cause.items()
    ]

    def predict(item: Op | Layer) -> int:
        own = measure.of(item).value if isinstance(item, Op) else 0
        if isinstance(item, Layer) and convention.unseen(item):
            own = item.of_one(measure)
        return own + sum(convention.causes(item).values())

    nodes = _seen(tree, convention, fold=False)
    return _difference(tree, measure, reading, causes, nodes, predict)


def _listed_aside(reading: Reading) -> Sums[str]:
    """Return what a tool lists as counted beside the ops, by path, with everything below it."""
    listed: Sums[str] = Sums()
    for paths in reading.aside.values():
        for path, amount in paths.items():
            for around in ancestors(path):
                listed[around] += amount
    return listed


def _seen(tree: Layer, convention: Convention, *, fold: bool) -> Iterator[Node]:
    """Yield the nodes of a tree without those below a layer that the tool does not see."""
    unseen = ""
    for node in tree.walk(fold=fold):
        if unseen and node.path.startswith(unseen):
            continue
        yield node
        if isinstance(node.item, Layer) and convention.unseen(node.item):
            unseen = f"{node.path}."
            if not node.path:  # the model itself
                return


def reconcile_params(
    tree: Layer, tool: Tool, reading: Reading, parts: list[Part] | None = None
) -> Difference:
    """Compare a reading of parameters with the one predicted for tied and shared tensors.

    Args:
        tree: the formulas.
        tool: the tool.
        reading: what it says.
        parts: modules of the model with their tensors; None if the formulas say them.
    """
    parts = parts or formula_parts(tree)
    held = tool.predict_by_path(parts) if tool.predict_by_path is not None else {}
    apart = tool.predict_params(parts) - tree.total(Measure.PARAMS)
    causes = [Cause(cause=tool.params_differ, amount=apart, paths={})] if apart else []
    return _difference(
        tree,
        Measure.PARAMS,
        reading,
        causes,
        tree.walk(fold=False),
        lambda item: item.params.value if isinstance(item, Op) else 0,
        held,
    )


def _difference(
    tree: Layer,
    measure: Measure,
    reading: Reading,
    causes: list[Cause],
    nodes: Iterable[Node],
    predict: Callable[[Op | Layer], int],
    known: Mapping[str, int] | None = None,
) -> Difference:
    predicted = _listed_aside(reading)
    ops = set()
    for node in nodes:
        if isinstance(node.item, Op):
            ops.add(node.path)
        for path in ancestors(node.path):
            predicted[path] += predict(node.item)
    for path, amount in (known or {}).items():
        predicted[path] = amount
    return Difference(
        count=tree.total(measure),
        reading=reading.total,
        causes=tuple(sorted(causes, key=lambda cause: -abs(cause.amount))),
        mismatches=tuple(
            Mismatch(path=path, reading=count, predicted=predicted[path])
            for path, count in reading.by_path.items()
            # A tool may report single weights of an op, which are part of the op's own figure.
            if count != predicted[path] and path.rpartition(".")[0] not in ops
        ),
    )
