"""Parameters or multiply-accumulates of a model, layer by layer, beside what the tools say."""

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
from vitprof.report.verdict import verdict, why
from vitprof.request.specs import described
from vitprof.values.options import Value, label_of, pairs, plain
from vitprof.values.size import Size

_TITLES = {"params": "Parameters", "macs": "Multiply-accumulates"}
_COUNTS, _FORMULAS = range(2)  # parts of the table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One layer of a report.

    Attributes:
        path: the torch submodule's path, `blocks.0-11.norm1` where equal ones are folded.
        name: what the row is called below its parent.
        level: how deep below the model it lies, from 1.
        type: class of the torch module.
        repeat: how many equal layers the row stands for.
        size: the count of one of them, the first, with its arithmetic.
        count: the count of all of them.
        counters: what each tool says of all of them; None where it says nothing.
        leaf: if no other row lies below; the counts of the leaves add up to the total.
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
        return isinstance(other, Row) and self._said() == other._said()

    def _said(self) -> tuple[object, ...]:
        """All of it, the size by what it reads: sizes themselves are equal by identity."""
        size = (self.formula, self.numbers, self.each)
        return (self.label, self.type, size, self.count, self.counters, self.leaf)

    @property
    def each(self) -> int:
        """The count of one of the equal layers."""
        return self.size.value

    @property
    def formula(self) -> str:
        """The closed form, with names; empty for a row that sums others."""
        return self.size.formula if self.size.is_closed_form else ""

    @property
    def numbers(self) -> str:
        """The same with numbers put in."""
        return self.size.numbers if self.formula else ""

    @property
    def label(self) -> Label:
        """Its name in a table."""
        return Label(self.name, self.path, self.level - 1, self.repeat)


@dataclass(frozen=True, kw_only=True)
class Counts(Report):
    """Counts of a model, with the conditions under which they hold.

    Attributes:
        command: `params` or `macs`.
        spec: model, mixer, and every size.
        conditions: dtype, mode and what else the readings depend on.
        versions: of every package that had a part in it.
        convention: what is counted, in a sentence.
        totals: the formulas' totals by name.
        headline: the name of the total that the rows add up to.
        not_counted: elements of work that is in no total, by kind.
        fft_flops: what the Fourier transforms among it take by the usual figure.
        counters: each tool's total.
        differences: why each tool's total is what it is.
        unavailable: why a tool gives none.
        notes: what a tool itself says that it left out, by tool.
        tree: rows and the rows that sum them, parents first.
        explains: if its document lists every cause of every difference.
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

    @property
    def rows(self) -> tuple[Row, ...]:
        """The leaves; their counts add up to `total`."""
        return tuple(row for row in self.tree if row.leaf)

    @property
    def total(self) -> int:
        """The total that the rows add up to: all parameters, or all MACs."""
        return self.totals[self.headline]

    @property
    def tools(self) -> tuple[str, ...]:
        """All tools that were asked, those that give nothing last."""
        return (*self.counters, *self.unavailable)

    @property
    def explained(self) -> bool:
        """If every tool's reading follows to the last unit from its convention."""
        return all(difference.explained for difference in self.differences.values())

    @property
    def complaint(self) -> str:
        tools = [tool for tool, found in self.differences.items() if not found.explained]
        if not tools:
            return ""
        return f"the reading of {listing(tools, 'and')} is not explained; --why lists the causes"

    def why(self) -> Explanation:
        """Every cause of every difference, path by path."""
        return Explanation(self.command, self.differences)

    def document(self) -> Document:
        title = f"{_TITLES[self.command]} of {described(self.spec)}"
        if "batch" in self.spec:
            title += f", batch {self.spec['batch']}"
        causes = self.why().document() if self.explains else ()
        return (Heading(title), self._table(), Facts(self._facts()), *causes)

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
        """What each tool says of a count, marked if it differs; n/a if it cannot."""
        cells: list[Cell] = []
        for tool in self.tools:
            reading = readings.get(tool)
            if reading is None:
                cells.append(None if tool in readings else "n/a")
            else:
                cells.append(reading if reading == count else Marked(reading))
        return cells

    def _facts(self) -> dict[str, str]:
        """What is in no total, and the conditions."""
        lines = {tool: verdict(difference) for tool, difference in self.differences.items()}
        if self.not_counted:
            counts = (f"{label_of(name)} {n:,}" for name, n in self.not_counted.items())
            lines["not counted"] = ", ".join(counts) + " (elements)"
        if self.fft_flops:
            lines["not counted"] += f"; fft {self.fft_flops:,} FLOPs by 5 n ⌈log2 n⌉ a transform"
        lines |= {f"{tool}, n/a": reason for tool, reason in self.unavailable.items()}
        lines |= {f"{tool} says": note for tool, note in self.notes.items()}
        return lines | {
            "spec": pairs(self.spec),
            "conditions": pairs(self.conditions),
            "versions": pairs(self.versions),
            "convention": self.convention,
        }

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
    """The causes of a report's differences, path by path."""

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
