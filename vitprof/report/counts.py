"""Report of the parameters or MACs of a model, layer by layer, beside other tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from vitprof.counters.reconcile import Difference
from vitprof.errors import listing
from vitprof.formulas.layer import Measure
from vitprof.formulas.op import Pass
from vitprof.report.base import Report
from vitprof.report.columns import Field, Fields, number, records, table
from vitprof.report.document import (
    EVERY,
    Cell,
    Column,
    Document,
    Facts,
    Heading,
    Kind,
    Marked,
    Records,
    Table,
)
from vitprof.report.document import Row as TableRow
from vitprof.report.groups import TITLES, Group, groups
from vitprof.report.layers import COUNTS, FORMULAS, ROW_FIELDS, Row, part_formula
from vitprof.report.module import ModuleFacts
from vitprof.report.verdict import verdict, why
from vitprof.request.specs import described
from vitprof.values.amounts import Share
from vitprof.values.options import Value, label_of, pairs, plain

_TITLES = {"params": "Parameters", "macs": "Multiply-accumulates"}


Listed = TypeVar("Listed", Row, Group)
_FOR_PEOPLE = ("layer", "type", "formula", "numbers", "of-one", "count")  # the usual columns
_FOR_PROGRAMS = ("layer", "type", "repeat", "formula", "numbers", "of-one", "count")


def known_columns(measure: Measure, tools: Iterable[str], by: str = "") -> list[str]:
    """Return the names of the columns that a report has.

    Args:
        measure: what it counts.
        tools: names of the tools that are asked.
        by: `type`, `kind` or `depth` if totals are shown instead of the rows.
    """
    parts = [_column_of(part.value) for part in Pass] if measure is Measure.TRAINING else []
    if by:
        elements = ["elements"] if measure is not Measure.PARAMS and by == "kind" else []
        return [by, "layers", *parts, "count", "share", *tools, *elements]
    formulas = [f"{part}-formula" for part in parts]
    return [*ROW_FIELDS, *formulas, "of-one", *parts, "count", "share", *tools]


def _column_of(part: str) -> str:
    """Return the name of the column of a part of a training step: `by-input`."""
    return _words(part).replace(" ", "-")


def _words(part: str) -> str:
    """Return the title of the column of a part of a training step: `by input`."""
    return label_of(part.removeprefix("backward_"))


@dataclass(frozen=True, kw_only=True)
class Counts(Report):
    """Counts of a model, with their conditions.

    Attributes:
        command: `params` or `macs`.
        spec: model, mixer, and every size.
        conditions: dtype, mode and other conditions of the tools' counts.
        versions: version of every package involved, by name.
        convention: sentence on what is counted.
        totals: totals by formula, by name.
        headline: name of the total that the leaves add up to.
        not_counted: elements of element-wise work that no total includes, by kind.
        fft_flops: FLOPs of the Fourier transforms, 5 n ⌈log2 n⌉ each, in no total.
        counters: total of each tool.
        differences: explained difference of each tool's total from the count.
        unavailable: reason if a tool gives no count, by tool.
        notes: warnings of a tool about operations that it does not count, by tool.
        tree: leaves and the rows that sum them, parents first.
        folded: the same with equal layers in one row, for people.
        columns: names of the columns to show; empty for the usual ones.
        by: `type`, `kind` or `depth` to show totals instead of the rows; else empty.
        explains: True if the document lists every cause of every difference.
        module: facts on a module that is none of vitprof's models; else None.
        strict: True if the report does not hold with a kernel that no rule counts.
        parts: names of the counts that each count is the sum of: the parts of a training step;
            empty if it is no sum.
    """

    command: str
    spec: Mapping[str, Value]
    conditions: Mapping[str, str]
    versions: Mapping[str, str]
    convention: str
    totals: Mapping[str, int]
    headline: str
    not_counted: Mapping[str, int]
    fft_flops: int
    counters: Mapping[str, int]
    differences: Mapping[str, Difference]
    unavailable: Mapping[str, str]
    notes: Mapping[str, str]
    tree: tuple[Row, ...]
    folded: tuple[Row, ...]
    columns: tuple[str, ...] = ()
    by: str = ""
    explains: bool = False
    module: ModuleFacts | None = None
    strict: bool = False
    parts: tuple[str, ...] = ()

    @property
    def measure(self) -> str:
        """Counted property: `params`, `macs` or `training_macs`."""
        return "training_macs" if self.parts else self.command

    @property
    def rows(self) -> tuple[Row, ...]:
        """Leaves of the tree, whose counts add up to `total`."""
        return tuple(row for row in self.tree if row.leaf)

    @property
    def total(self) -> int:
        """Total of the leaves: all parameters, or all MACs."""
        return self.totals[self.headline]

    @property
    def tools(self) -> tuple[str, ...]:
        """Requested tools, those without a count last."""
        return (*self.counters, *self.unavailable)

    @property
    def explained(self) -> bool:
        """True if every tool's count follows exactly from its convention."""
        return all(difference.explained for difference in self.differences.values())

    @property
    def complaint(self) -> str:
        tools = [tool for tool, found in self.differences.items() if not found.explained]
        if not tools and self.strict and self.module is not None and self.module.unknown:
            return f"no rule counts {self.module.unknown_words}; leave out --strict to accept that"
        if not tools:
            return ""
        return f"the count of {listing(tools, 'and')} is not explained; --why lists the causes"

    def why(self) -> Explanation:
        """Return a report of every cause of every difference, path by path."""
        return Explanation(self.command, self.differences)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Totals of the rows as `by` says; none if it is empty."""
        return self._groups(self.tree) if self.by else ()

    def _groups(self, rows: Sequence[Row]) -> tuple[Group, ...]:
        return groups(rows, self.by, self.counters, self.not_counted)

    def document(self) -> Document:
        whose = f"a training step of {described(self.spec)}" if self.parts else described(self.spec)
        title = f"{_TITLES[self.command]} of {whose}"
        if "batch" in self.spec:
            title += f", batch {self.spec['batch']}"
        if self.by:
            title += f", by {TITLES[self.by]}"
        causes = self.why().document() if self.explains else ()
        return (Heading(title), self._table(), self._facts(), *causes)

    def _table(self) -> Table:
        if self.by:
            fields, found = self.group_fields, self._groups(self.folded)
            usual = [name for name in fields if name not in self._idle]
            return table(fields, self.columns or usual, found, self._totals(self.by))
        rows = self.folded
        parts = [name for name in map(_column_of, self.parts) if name not in self._idle]
        usual = [*_FOR_PEOPLE[:-1], *parts, *_FOR_PEOPLE[-1:], *self.tools]
        if not any(row.repeat > 1 for row in rows):
            usual.remove("of-one")
        return table(
            *(self.fields, self.columns or usual, rows, self._totals("layer")),
            strong=lambda row: not row.leaf,
        )

    @property
    def _idle(self) -> set[str]:
        """Columns of the parts in which there is nothing."""
        return {_column_of(part) for part in self.parts if not self.totals[part]}

    @property
    def _repeated(self) -> tuple[str, ...]:
        """Totals that say the same as the total of all rows."""
        return () if self.totals.get(Pass.RECOMPUTED.value) else ("without_recomputation",)

    def _totals(self, name_column: str) -> Iterator[tuple[dict[str, Cell], bool]]:
        """Yield the cells of each total by column, and True for the total of all rows."""
        for name, count in self.totals.items():
            if name in self.parts or name in self._repeated:
                continue
            headline = name == self.headline
            cells: dict[str, Cell] = {name_column: label_of(name), "count": count}
            if headline:
                cells |= {_column_of(part): self.totals[part] for part in self.parts}
                cells |= {"share": Share(1) if count else None, **self._said(self.counters, count)}
            yield cells, headline

    @property
    def fields(self) -> dict[str, Field[Row]]:
        """Columns of the rows, by name."""
        amounts: dict[str, Field[Row]] = {**self._amounts()}
        return {
            **ROW_FIELDS,
            **{
                f"{_column_of(part)}-formula": part_formula(part, _words(part))
                for part in self.parts
            },
            "of-one": number(self._count("of one", FORMULAS), "each", lambda row: row.each),
            **amounts,
        }

    @property
    def group_fields(self) -> dict[str, Field[Group]]:
        """Columns of the totals by type, kind or depth, by name."""
        amounts: dict[str, Field[Group]] = {**self._amounts()}
        elements: dict[str, Field[Group]] = {}
        if self.command == "macs" and self.by == "kind":
            elements["elements"] = Field(
                Column("elements, not counted", Kind.NUMBER, FORMULAS, counts="elements"),
                lambda group: group.elements or None,
                "elements",
                lambda group: group.elements,
            )
        title = Column(TITLES[self.by], part=EVERY, key=True)
        layers = Column("layers", Kind.NUMBER, FORMULAS)
        return {
            self.by: Field(title, lambda group: group.label, self.by, lambda group: group.name),
            "layers": Field(
                layers, lambda group: group.layers or None, "layers", lambda group: group.layers
            ),
            **amounts,
            **elements,
        }

    def _amounts(self) -> dict[str, Field[Row | Group]]:
        """Return the columns that rows and groups have: count, share and those of the tools."""

        def share(of: Row | Group) -> float | None:
            return of.count / self.total if self.total else None

        def shown_share(of: Row | Group) -> Share | None:
            return Share(of.count / self.total) if self.total else None

        def tool(name: str) -> Field[Row | Group]:
            return Field(
                self._count(name),
                lambda of: self._said(of.counters, of.count)[name],
                name,
                lambda of: of.counters.get(name),
            )

        def part(name: str) -> Field[Row | Group]:
            return number(self._count(_words(name)), name, lambda of: of.parts.get(name, 0))

        title = "training step" if self.parts else "count"
        count = replace(self._count(title), key=bool(self.tools) and not self.columns)
        return {
            **{_column_of(name): part(name) for name in self.parts},
            "count": number(count, "count", lambda of: of.count),
            "share": Field(
                Column("share", Kind.NUMBER, COUNTS),
                shown_share,
                "share",
                share,
            ),
            **{name: tool(name) for name in self.tools},
        }

    def _count(self, title: str, part: int = COUNTS) -> Column:
        return Column(title, Kind.NUMBER, part, counts=self.command)

    def _said(self, readings: Mapping[str, int | None], count: int) -> dict[str, Cell]:
        """Return a cell per tool: its count, marked if it differs, or n/a if it cannot run."""
        cells: dict[str, Cell] = {}
        for tool in self.tools:
            reading = readings.get(tool)
            if reading is None:
                cells[tool] = None if tool in readings else "n/a"
            else:
                cells[tool] = reading if reading == count else Marked(reading)
        return cells

    def _facts(self) -> Facts:
        """Return the verdicts, work that no total includes, and the conditions, as named lines."""
        lines = {tool: verdict(difference) for tool, difference in self.differences.items()}
        if self.not_counted:
            counts = (f"{label_of(name)} {n:,}" for name, n in self.not_counted.items())
            where = " of the forward pass" if self.parts else ""
            lines["not counted"] = ", ".join(counts) + f" (elements{where})"
        if self.fft_flops:
            lines["not counted"] += f"; fft {self.fft_flops:,} FLOPs by 5 n ⌈log2 n⌉ a transform"
        if self.module is not None:
            lines |= self.module.lines()
        lines |= {f"{tool}, n/a": reason for tool, reason in self.unavailable.items()}
        lines |= {f"{tool} says": note for tool, note in self.notes.items()}
        conditions = {
            "spec": pairs(self.spec),
            "conditions": pairs(self.conditions),
            "versions": pairs(self.versions),
            "convention": self.convention,
        }
        return Facts(lines | conditions, conditions)

    def records(self) -> Records:
        if self.by:
            return records(self.group_fields, self.columns or [*self.group_fields], self.groups)
        return records(self.fields, self.columns or [*self._for_programs, *self.tools], self.rows)

    @property
    def _for_programs(self) -> list[str]:
        """Names of the usual columns for programs."""
        parts = [_column_of(part) for part in self.parts]
        return [*_FOR_PROGRAMS, *parts, *(f"{part}-formula" for part in parts)]

    def data(self) -> dict[str, object]:
        named = {"not_counted": dict(self.not_counted)} if self.not_counted else {}
        return {
            "spec": {name: plain(value) for name, value in self.spec.items()},
            "conditions": dict(self.conditions),
            "versions": dict(self.versions),
            "convention": self.convention,
            "totals": dict(self.totals),
            **named,
            **({"fft_flops": self.fft_flops} if self.fft_flops else {}),
            **({"module": self.module.record()} if self.module is not None else {}),
            "counters": dict(self.counters),
            "differences": {name: _record(one) for name, one in self.differences.items()},
            "unavailable": dict(self.unavailable),
            "notes": dict(self.notes),
            **self._listed(),
        }

    def _listed(self) -> dict[str, object]:
        """Return the rows, with chosen columns beside the usual ones; or the groups."""
        if self.by:
            return {"by": self.by, "groups": self._items(self.group_fields, self.groups)}
        names = {*self._for_programs, *self.columns}
        fields = {name: field for name, field in self.fields.items() if name in names}
        return {"rows": self._items(fields, self.rows)}

    def _items(self, fields: Fields[Listed], items: Iterable[Listed]) -> list[dict[str, object]]:
        """Return the values of rows or groups by name, those of the tools apart."""
        own = [field for name, field in fields.items() if name not in self.tools]
        return [
            {**{one.record: one.value(item) for one in own}, "counters": dict(item.counters)}
            for item in items
        ]


def _record(difference: Difference) -> dict[str, object]:
    return {
        "reading": difference.reading,
        "predicted": difference.predicted,
        "causes": [asdict(cause) for cause in difference.causes],
        "unexplained": difference.unexplained,
        "mismatches": [asdict(mismatch) for mismatch in difference.mismatches],
    }


@dataclass(frozen=True, slots=True)
class Explanation(Report):
    """Causes of the differences between tools and formulas, path by path."""

    command: str
    differences: Mapping[str, Difference]

    def document(self) -> Document:
        columns = (
            Column("tool", part=EVERY, key=True),
            Column("cause", Kind.TEXT),
            Column("layer", part=EVERY, key=True),
            Column("amount", Kind.NUMBER),
        )
        rows = [TableRow(cells, strong=bool(cells[1])) for cells in why(self.differences)]
        return (Heading("Why the tools differ"), Table(columns, tuple(rows)))

    def records(self) -> Records:
        rows = []
        tool = cause = ""
        for of, reason, path, amount in why(self.differences):
            tool, cause = of or tool, reason or cause
            rows.append((tool, cause, path, None if amount is None else int(amount)))
        return Records(("tool", "cause", "path", "amount"), tuple(rows))

    def data(self) -> dict[str, object]:
        return {"differences": {n: _record(one) for n, one in self.differences.items()}}
