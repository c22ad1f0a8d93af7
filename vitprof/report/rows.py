"""Make the rows of a report from a tree of formulas and the counts of the tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import zip_longest

from vitprof.counters.reading import Reading
from vitprof.formulas.layer import Layer, Measure, Node
from vitprof.formulas.op import Called, Op, Pass, Shape
from vitprof.report.layers import Row, children
from vitprof.values.size import Size

Count = Callable[[Node], tuple[Size, int]]  # size of one layer, and count of all equal ones
_WITHOUT_PARTS: Mapping[str, Count] = {}


def counted(measure: Measure | Pass) -> Count:
    """Return a function that counts a measure, or a part of it, of a layer or op."""

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
    parts: Mapping[str, Count] = _WITHOUT_PARTS,
) -> tuple[Row, ...]:
    """Return the rows that have a count by formula or tool, and the rows that sum them.

    Args:
        tree: the model's formulas.
        count: counts one layer or op.
        readings: counts of the tools, by tool.
        fold: show equal layers in one row.
        levels: levels of layers to show; None for all. A layer at the last level includes
            everything below it.
        parts: count the parts of it, by name.
    """
    summed = _summed([*_rows(tree.walk(fold=fold), count, readings, parts)])
    kept = [row for row in summed if row.count or any(row.counters.values())]
    shown = [row for row in kept if levels is None or row.level <= levels]
    return tuple(_joined(_with_leaves(shown)))


def kept_rows(
    tree: Layer, kept: Mapping[str, Size], *, fold: bool, levels: int | None
) -> tuple[Row, ...]:
    """Return the rows of the bytes that each layer saves for the backward pass.

    Args:
        tree: the model's formulas.
        kept: saved bytes by path.
        fold: show equal layers in one row.
        levels: levels of layers to show; None for all.
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
    """Return a row for bytes outside all layers, such as the indices of a gather or the loss."""
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


def _rows(
    nodes: Iterable[Node],
    count: Count,
    readings: Mapping[str, Reading],
    parts: Mapping[str, Count],
) -> Iterator[Row]:
    """Yield a row per node; that of a function has the class of the module that calls it."""
    classes = [""]  # of the modules around a node, from the outermost one
    for node in nodes:
        del classes[node.level + 1 :]
        classes.append(node.item.type or classes[-1])
        if node.level > 0:
            own = {name: of(node) for name, of in parts.items()}
            yield replace(
                _row(node, count, readings, classes[-1]),
                parts={name: number for name, (_, number) in own.items()},
                part_sizes={name: size for name, (size, _) in own.items()},
            )


def _row(node: Node, count: Count, readings: Mapping[str, Reading], caller: str) -> Row:
    one, all_of_them = count(node)
    item = node.item
    return Row(
        path=node.path,
        name=node.path.rpartition(".")[2],
        level=node.level,
        type=item.type,
        caller=caller,
        kind=_kind(item) if isinstance(item, Op) else "",
        reads=item.reads,
        out=_out(item),
        repeat=node.repeat,
        size=one,
        count=all_of_them,
        counters={name: _said(reading, node) for name, reading in readings.items()},
        leaf=False,
    )


def _kind(op: Op) -> str:
    """Return the kind of work of an op; of one that has no name here, that of its function."""
    if isinstance(op, Called):
        return op.kind or op.function.removeprefix("aten::")
    return op.work.value


def _out(item: Layer | Op) -> Shape | None:
    """Return the shape of what a layer or op returns; None if it is not known, or not called."""
    if isinstance(item, Op):
        return item.shape if item.reads else None
    if item.out is None and item.leaf is not None and item.leaf.outputs:
        return item.leaf.outputs[0]
    return item.out


def _with_leaves(shown: list[Row]) -> list[Row]:
    """Mark the rows without rows below them as leaves."""
    pairs = zip_longest(shown, shown[1:])
    return [replace(row, leaf=below is None or below.level <= row.level) for row, below in pairs]


def _said(reading: Reading, node: Node) -> int | None:
    said = [reading.by_path[path] for path in node.paths if path in reading.by_path]
    return sum(said) if said else None


def _summed(made: list[Row]) -> list[Row]:
    """Fill in the counts of containers that a tool skips, as the sum of their children."""
    summed = list(made)
    for place in reversed(range(len(summed))):
        row = summed[place]
        silent = [name for name, said in row.counters.items() if said is None]
        if not silent:
            continue
        inside = children(summed, place)
        sums = {name: _sum([child.counters[name] for child in inside]) for name in silent}
        summed[place] = replace(row, counters={**row.counters, **sums})
    return summed


def _joined(kept: list[Row]) -> list[Row]:
    """Merge each row that has a single child with that child."""
    joined: list[Row] = []
    for row in reversed(kept):
        if not row.leaf and len(children([row, *joined], 0)) == 1:
            below = [inside for inside in joined if inside.path.startswith(f"{row.path}.")]
            only = replace(below[0], name=f"{row.name}.{below[0].name}")
            raised = [replace(inside, level=inside.level - 1) for inside in (only, *below[1:])]
            joined = [*raised, *joined[len(below) :]]
        else:
            joined = [row, *joined]
    return joined


def _sum(said: list[int | None]) -> int | None:
    known = [count for count in said if count is not None]
    return sum(known) if known else None
