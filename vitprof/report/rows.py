"""From a formula tree and the tools' readings to the rows of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import zip_longest

from vitprof.counters.reading import Reading
from vitprof.formulas.layer import Layer, Measure, Node
from vitprof.formulas.op import Op
from vitprof.report.counts import Row
from vitprof.values.size import Size

Count = Callable[[Node], tuple[Size, int]]  # of one, with a formula where it has one; of all


def counted(measure: Measure) -> Count:
    """What is counted of each layer and op."""

    def count(node: Node) -> tuple[Size, int]:
        item = node.item
        each = measure.of(item) if isinstance(item, Op) else Size(item.of_one(measure))
        return each, each.value * node.repeat

    return count


def rows(
    tree: Layer,
    count: Count,
    readings: Mapping[str, Reading],
    *,
    fold: bool,
    levels: int | None,
) -> tuple[Row, ...]:
    """The rows that have a count, or that a tool gives one, and the rows that sum them.

    Args:
        tree: the model's formulas.
        count: what is counted of one layer or op.
        readings: of the tools that have one.
        fold: show equal layers once.
        levels: how deep below the model; a layer at the last level stands for all it holds.
    """
    nodes = [node for node in tree.walk(fold=fold) if node.level > 0]
    summed = _summed([_row(node, count, readings) for node in nodes])
    kept = [row for row in summed if row.count or any(row.counters.values())]
    shown = [row for row in kept if levels is None or row.level <= levels]
    return tuple(_joined(_with_leaves(shown)))


def kept_rows(
    tree: Layer, kept: Mapping[str, Size], *, fold: bool, levels: int | None
) -> tuple[Row, ...]:
    """The rows of what each layer keeps for the backward pass, in bytes.

    Args:
        tree: the model's formulas.
        kept: bytes by path.
        fold: show equal layers once.
        levels: how deep below the model.
    """
    within: Counter[str] = Counter()
    for path, size in kept.items():
        parts = path.split(".")
        within.update({".".join(parts[:some]): size.value for some in range(1, len(parts) + 1)})

    def count(node: Node) -> tuple[Size, int]:
        paths = node.paths
        return kept.get(paths[0]) or Size(within[paths[0]]), sum(within[path] for path in paths)

    there = {path for node in tree.walk(fold=False) for path in node.paths}
    elsewhere = [_elsewhere(path, size) for path, size in kept.items() if path not in there]
    return (*rows(tree, count, {}, fold=fold, levels=levels), *elsewhere)


def _elsewhere(path: str, size: Size) -> Row:
    """What is kept by no layer: the indices of a gather, a loss outside the model."""
    return Row(
        path=path,
        name=path,
        level=1,
        type="",
        repeat=1,
        size=size,
        count=size.value,
        counters={},
        leaf=True,
    )


def _row(node: Node, count: Count, readings: Mapping[str, Reading]) -> Row:
    one, all_of_them = count(node)
    return Row(
        path=node.path,
        name=node.path.rpartition(".")[2],
        level=node.level,
        type=node.item.type,
        repeat=node.repeat,
        size=one,
        count=all_of_them,
        counters={name: _said(reading, node) for name, reading in readings.items()},
        leaf=False,
    )


def _with_leaves(shown: list[Row]) -> list[Row]:
    """Mark the rows below which there is no other."""
    pairs = zip_longest(shown, shown[1:])
    return [replace(row, leaf=below is None or below.level <= row.level) for row, below in pairs]


def _said(reading: Reading, node: Node) -> int | None:
    said = [reading.by_path[path] for path in node.paths if path in reading.by_path]
    return sum(said) if said else None


def _summed(made: list[Row]) -> list[Row]:
    """Where a tool skips a container, the sum of what it says of the layers in it."""
    summed = list(made)
    for place in reversed(range(len(summed))):
        row = summed[place]
        silent = [name for name, said in row.counters.items() if said is None]
        if not silent:
            continue
        inside = _children(summed, place)
        sums = {name: _sum([child.counters[name] for child in inside]) for name in silent}
        summed[place] = replace(row, counters={**row.counters, **sums})
    return summed


def _joined(kept: list[Row]) -> list[Row]:
    """Where a row would sum a single other one, one row in place of the two."""
    joined: list[Row] = []
    for row in reversed(kept):
        if not row.leaf and len(_children([row, *joined], 0)) == 1:
            below = [inside for inside in joined if inside.path.startswith(f"{row.path}.")]
            only = replace(below[0], name=f"{row.name}.{below[0].name}")
            raised = [replace(inside, level=inside.level - 1) for inside in (only, *below[1:])]
            joined = [*raised, *joined[len(below) :]]
        else:
            joined = [row, *joined]
    return joined


def _children(rows: list[Row], place: int) -> list[Row]:
    level, children = rows[place].level, []
    for row in rows[place + 1 :]:
        if row.level <= level:
            break
        if row.level == level + 1:
            children.append(row)
    return children


def _sum(said: list[int | None]) -> int | None:
    known = [count for count in said if count is not None]
    return sum(known) if known else None
