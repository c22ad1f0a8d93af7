"""Report of the parameters or MACs of a model, layer by layer, beside other tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from vitprof.counters.reconcile import Difference
from vitprof.errors import listing
from vitprof.report.base import Report
from vitprof.report.document import (
    EVERY,
    Cell,
    Column,
    Document,
    Facts,
    Heading,
    Kind,
    Label,
    Marked,
    Records,
    Table,
)
from vitprof.report.document import Row as TableRow
from vitprof.report.module import ModuleFacts
from vitprof.report.verdict import verdict, why
from vitprof.request.specs import described
from vitprof.values.options import Value, label_of, pairs, plain
from vitprof.values.size import Size

_TITLES = {"params": "Parameters", "macs": "Multiply-accumulates"}
_COUNTS, _FORMULAS = range(2)  # parts of the table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One row of a report: a layer, or several equal ones.

    Attributes:
        path: path of the torch submodule, such as `blocks.0-11.norm1` for folded layers.
        name: name below its parent.
        level: depth below the model, from 1.
        type: class of the torch module.
        repeat: number of equal layers in the row.
        size: count of the first of them, with its formula.
        count: count of all of them.
        counters: count of each tool for all of them; None if the tool gives none.
        leaf: True if no row is below it; the counts of the leaves add up to the total.
    """

    path: str
    name: str
    level: int
    type: str
    repeat: int
    size: Size
    count: int
    counters: Mapping[str, int | None]
    leaf: bool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self._values() == other._values()

    def _values(self) -> tuple[object, ...]:
        """Return the values to compare; a Size itself is only equal to itself."""
        size = (self.formula, self.numbers, self.each)
        return (self.label, self.type, size, self.count, self.counters, self.leaf)

    @property
    def each(self) -> int:
        """Count of one of the equal layers."""
        return self.size.value

    @property
    def formula(self) -> str:
        """Closed form with names; empty for a row that sums others."""
        return self.size.formula if self.size.is_closed_form else ""

    @property
    def numbers(self) -> str:
        """The formula with numbers instead of names."""
        return self.size.numbers if self.formula else ""

    @property
    def label(self) -> Label:
        """Cell that names the row in a table."""
        return Label(self.name, self.path, self.level - 1, self.repeat)


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
        explains: True if the document lists every cause of every difference.
        module: facts on a module that is none of vitprof's models; else None.
        strict: True if the report does not hold with a kernel that no rule counts.
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
    explains: bool = False
    module: ModuleFacts | None = None
    strict: bool = False

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

    def document(self) -> Document:
        title = f"{_TITLES[self.command]} of {described(self.spec)}"
        if "batch" in self.spec:
            title += f", batch {self.spec['batch']}"
        causes = self.why().document() if self.explains else ()
        return (Heading(title), self._table(), self._facts(), *causes)

    def _table(self) -> Table:
        folded = any(row.repeat > 1 for row in self.tree)
        columns = [
            Column("layer", part=EVERY, key=True),
            Column("type", Kind.TEXT, _FORMULAS, faint=True),
            Column("formula", Kind.FORMULA, _FORMULAS),
            Column("numbers", Kind.NUMBERS, _FORMULAS, faint=True),
            *([Column("of one", Kind.NUMBER, _FORMULAS)] if folded else []),
            Column("count", Kind.NUMBER, _COUNTS, key=bool(self.tools)),
            *(Column(tool, Kind.NUMBER, _COUNTS) for tool in self.tools),
        ]
        rows = []
        for row in self.tree:
            each = (row.each,) if folded else ()
            said = self._said(row.counters, row.count)
            cells = (row.label, row.type, row.size, row.size, *each, row.count, *said)
            rows.append(TableRow(cells, strong=not row.leaf))
        blanks: tuple[Cell, ...] = (None,) * (3 + folded)
        totals = []
        for name, count in self.totals.items():
            headline = name == self.headline
            tools = self._said(self.counters, count) if headline else [None] * len(self.tools)
            cells = (label_of(name), *blanks, count, *tools)
            totals.append(TableRow(cells, strong=headline))
        return Table(tuple(columns), tuple(rows), tuple(totals))

    def _said(self, readings: Mapping[str, int | None], count: int) -> list[Cell]:
        """Return a cell per tool: its count, marked if it differs, or n/a if it cannot run."""
        cells: list[Cell] = []
        for tool in self.tools:
            reading = readings.get(tool)
            if reading is None:
                cells.append(None if tool in readings else "n/a")
            else:
                cells.append(reading if reading == count else Marked(reading))
        return cells

    def _facts(self) -> Facts:
        """Return the verdicts, work that no total includes, and the conditions, as named lines."""
        lines = {tool: verdict(difference) for tool, difference in self.differences.items()}
        if self.not_counted:
            counts = (f"{label_of(name)} {n:,}" for name, n in self.not_counted.items())
            lines["not counted"] = ", ".join(counts) + " (elements)"
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
        own = ("path", "type", "repeat", "formula", "numbers", "each", "count")
        return Records(
            (*own, *self.tools),
            tuple(
                (
                    *(row.path, row.type, row.repeat, row.formula, row.numbers),
                    *(row.each, row.count),
                    *(row.counters.get(tool) for tool in self.tools),
                )
                for row in self.rows
            ),
        )

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
            "rows": [
                {
                    **{"path": row.path, "type": row.type, "repeat": row.repeat},
                    **{"formula": row.formula, "numbers": row.numbers},
                    **{"each": row.each, "count": row.count, "counters": dict(row.counters)},
                }
                for row in self.rows
            ],
        }


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
