"""Totals of a report's rows by class of module, by kind of work, or by part of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vitprof.formulas.layer import ancestors
from vitprof.report.document import Label
from vitprof.report.layers import Row
from vitprof.values.options import Choice, label_of

BY = Choice(
    "show totals instead of layers: by type, the class of the module that computes; by kind of "
    "work; or by depth, the blocks and what is before and after them",
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
    """

    name: str
    layers: int
    count: int
    elements: int
    counters: Mapping[str, int | None]

    @property
    def label(self) -> Label:
        """Cell that names the group in a table."""
        last = self.name.rpartition(".")[2]
        first, _, end = last.partition("-")
        equal = first.isdigit() and end.isdigit()
        repeat = int(end) - int(first) + 1 if equal else 1
        return Label(self.name, self.name, 0, repeat)


def groups(
    rows: Sequence[Row], by: str, tools: Iterable[str], not_counted: Mapping[str, int]
) -> tuple[Group, ...]:
    """Return the totals of rows whose counts add up.

    Args:
        rows: rows without rows below them.
        by: `type`, `kind` or `depth`.
        tools: names of the tools that have counts.
        not_counted: elements of work that no total includes, by kind.

    Returns:
        The groups: by depth in the order of the model, else the largest first.
    """
    key = _keys(rows)[by]
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    elements = {label_of(kind): number for kind, number in not_counted.items()}
    if by == "kind":
        found |= {kind: [] for kind in elements if kind not in found}
    made = [
        Group(
            name=name,
            layers=sum(row.repeat for row in own),
            count=sum(row.count for row in own),
            elements=elements.get(name, 0) if by == "kind" else 0,
            counters={tool: _sum(row.counters.get(tool) for row in own) for tool in tools},
        )
        for name, own in found.items()
    ]
    if by != "depth":
        made.sort(key=lambda group: -group.count)
    return tuple(made)


def _keys(rows: Sequence[Row]) -> Mapping[str, Callable[[Row], str]]:
    blocks = {block for row in rows for block in _block(row.path)}
    around = {path for block in blocks for path in ancestors(block)[1:-1]}

    def part(row: Row) -> str:
        """Path of the block around a row, or of the first module around it that holds none."""
        paths = ancestors(row.path)[1:]
        return next((path for path in paths if path not in around), row.path)

    return {
        "type": lambda row: row.type or row.caller,
        "kind": lambda row: label_of(row.kind) or "module",
        "depth": part,
    }


def _block(path: str) -> Iterator[str]:
    """Yield the path of the outermost numbered module around a path, or itself, if it has one."""
    for around in ancestors(path)[1:]:
        if around.rpartition(".")[2].replace("-", "").isdigit():
            yield around
            return


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
