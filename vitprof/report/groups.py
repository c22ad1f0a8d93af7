"""Totals of a report's rows by class of module, by kind of work, or by part of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vitprof.formulas.layer import ancestors
from vitprof.report.document import Label
from vitprof.report.layers import Row, children
from vitprof.values.numbers import listed
from vitprof.values.options import Choice, label_of

BY = Choice(
    "show totals instead of layers: by type, the class of the module that computes; by kind of "
    "work; or by depth, the blocks or stages and what is before and after them",
    ("type", "kind", "depth"),
)
TITLES = {"type": "type", "kind": "kind of work", "depth": "part"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Layers and ops that have something in common.

    Attributes:
        name: their class, their kind of work, or the path of the part that they are in.
        layers: number of layers and ops that have a count by formula or tool.
        count: count of all of them.
        elements: elements of the work of this kind that no total includes.
        counters: count of each tool for all of them; None if the tool gives none.
        parts: counts that add up to it, by name.
    """

    name: str
    layers: int
    count: int
    elements: int
    counters: Mapping[str, int | None]
    parts: Mapping[str, int]

    @property
    def label(self) -> Label:
        """Cell that names the group in a table."""
        last = self.name.rpartition(".")[2]
        return Label(self.name, self.name, 0, len(listed(last) or [0]))


def groups(
    rows: Sequence[Row],
    by: str,
    counters: Mapping[str, int],
    not_counted: Mapping[str, int],
) -> tuple[Group, ...]:
    """Return the totals of the rows of a tree.

    Args:
        rows: its rows, parents first.
        by: `type`, `kind` or `depth`.
        counters: total of each tool.
        not_counted: elements of work that no total includes, by kind.

    Returns:
        The groups: by depth in the order of the model, else the largest first. What a tool says
        of a module and not of the parts of it that are rows is in the module's group.
    """
    key, leaves = _key(rows, by), [row for row in rows if row.leaf]
    said: dict[str, dict[str, int]] = {key(row): {} for row in leaves}
    for row, own in _own(rows, counters):
        name = _WHOLE if row is None else key(row)
        for tool, count in own.items():
            if count is not None and (count or (row is not None and row.leaf)):
                of = said.setdefault(name, {})
                of[tool] = of.get(tool, 0) + count
    elements = {label_of(kind): number for kind, number in not_counted.items()}
    if by == "kind":
        said |= {kind: {} for kind in elements if kind not in said}
    else:
        elements = {}
    parts: dict[str, list[Row]] = {}
    for row in leaves:
        parts.setdefault(key(row), []).append(row)
    made = [
        Group(
            name=name,
            layers=sum(row.repeat for row in parts.get(name, ())),
            count=sum(row.count for row in parts.get(name, ())),
            elements=elements.get(name, 0),
            counters={tool: own.get(tool) for tool in counters},
            parts=_parts(parts.get(name, ())),
        )
        for name, own in said.items()
    ]
    if by != "depth":
        made.sort(key=lambda group: -group.count)
    return tuple(made)


def _parts(rows: Iterable[Row]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.parts)
    return dict(total)


_WHOLE = "whole modules"  # of which a tool has a count, and not of what is in them


def _key(rows: Sequence[Row], by: str) -> Callable[[Row], str]:
    """Return a function that names the group of a row."""
    if by == "type":
        return lambda row: row.type or row.caller
    if by == "kind":
        return lambda row: label_of(row.kind) or _WHOLE
    blocks = {block for row in rows for block in _block(row.path)}
    around = {path for block in blocks for path in ancestors(block)[1:-1]}

    def part(row: Row) -> str:
        """Path of the block around a row, or of the first module around it that holds none."""
        paths = ancestors(row.path)[1:]
        return next((path for path in paths if path not in around), row.path)

    return part


def _block(path: str) -> Iterator[str]:
    """Yield the path of the outermost numbered module around a path, if there is one."""
    for around in ancestors(path)[1:-1]:
        if around[-1].isdigit():
            yield around
            return


def _own(
    rows: Sequence[Row], counters: Mapping[str, int]
) -> Iterator[tuple[Row | None, dict[str, int | None]]]:
    """Yield each row with what tools say of it and of no row in it, and last the model as None."""
    for place, row in enumerate(rows):
        inside = _sum(counters, children(rows, place))
        yield (
            row,
            {n: None if said is None else said - inside[n] for n, said in row.counters.items()},
        )
    known = _sum(counters, [row for row in rows if row.level == 1])
    yield None, {tool: total - known[tool] for tool, total in counters.items()}


def _sum(tools: Iterable[str], rows: Sequence[Row]) -> dict[str, int]:
    return {tool: sum(row.counters.get(tool) or 0 for row in rows) for tool in tools}
