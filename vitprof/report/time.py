"""Report of the predicted time of a step on a GPU, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from vitprof.allocation.roofline import Bound, Cost, total
from vitprof.cuda.speed import Found, Speed
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
    Records,
    Table,
)
from vitprof.report.document import Row as TableRow
from vitprof.request.specs import described
from vitprof.values.amounts import Bytes, Figure, Seconds, Share
from vitprof.values.options import Value, pairs, plain
from vitprof.values.size import Size

_KERNELS, _FORMULAS = 1, 2  # parts of the table
_PHASES = ("forward", "backward", "optimizer")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRow:
    """Cost of a layer, or of several equal ones.

    Attributes:
        path: path of the torch submodule, such as `blocks.0-11.norm1` for folded layers.
        name: name below its parent.
        level: depth below the model, from 1.
        type: class of the torch module.
        repeat: number of equal layers in the row.
        leaf: True if no row is below it.
        phases: cost of all of them by phase: forward, backward, optimizer.
        sizes: bytes that one of them moves in one batch, by phase, with their formula; empty for
            a row that sums others.
    """

    path: str
    name: str
    level: int
    type: str
    repeat: int
    leaf: bool
    phases: Mapping[str, Cost]
    sizes: Mapping[str, Size] = field(compare=False)  # a Size itself is only equal to itself

    @property
    def whole(self) -> Cost:
        """Cost in all phases."""
        return total(self.phases.values())

    def formula(self, phase: str) -> str:
        """Return the bytes of a phase by formula; empty if there is none."""
        size = self.sizes.get(phase)
        return size.formula if size is not None and size.is_closed_form else ""


@dataclass(frozen=True, kw_only=True)
class Time(Report):
    """Predicted time of a step, with its conditions.

    Attributes:
        spec: model, mixer, and every size.
        workload: settings of the step.
        versions: version of every package involved, by name.
        convention: sentence on how time is predicted.
        speed: speed of the GPU and its host.
        torch: version of PyTorch whose kernels run.
        found: errors of the prediction that were found.
        phases: cost of each phase: forward, backward, optimizer.
        cautions: sentences on kernels whose time is known less well, by kind.
        tree: layers, and the rows that sum them.
        folded: the same with equal layers in one row, for people.
    """

    command = "time"
    spec: Mapping[str, Value]
    workload: Mapping[str, Value]
    versions: Mapping[str, str]
    convention: str
    speed: Speed
    torch: str
    found: Found
    phases: Mapping[str, Cost]
    cautions: Mapping[str, str]
    tree: tuple[TimeRow, ...]
    folded: tuple[TimeRow, ...]

    @property
    def whole(self) -> Cost:
        """Cost of the step."""
        return total(self.phases.values())

    @property
    def waits_for_host(self) -> bool:
        """True if the host needs longer than the GPU."""
        return self.whole.host > self.whole.device

    def seconds_of(self, cost: Cost) -> float:
        """Return the part of a cost in the step's time: on the host if the GPU waits for it."""
        return cost.host if self.waits_for_host else cost.device

    @property
    def seconds(self) -> float:
        """Time of the step."""
        return self.seconds_of(self.whole)

    def bound_of(self, cost: Cost) -> Bound:
        """Return what bounds a part of the step."""
        return Bound.LAUNCHES if self.waits_for_host else cost.bound

    @property
    def rows(self) -> tuple[TimeRow, ...]:
        """Layers without others below them, and what runs outside of layers."""
        return tuple(row for row in self.tree if row.leaf)

    @property
    def totals(self) -> dict[str, float | int | str]:
        """Seconds of the step and its phases, and what bounds it."""
        whole = self.whole
        return {
            "seconds": self.seconds,
            **{f"{name}_seconds": self.seconds_of(cost) for name, cost in self.phases.items()},
            "bound": self.bound_of(whole).value,
            "device_seconds": whole.device,
            "host_seconds": whole.host,
            "launches": whole.launches,
            "macs": whole.macs,
            "bytes_read": whole.read,
            "bytes_written": whole.written,
        }

    def document(self) -> Document:
        batch = self.workload["batch"]
        step = "inference" if self.workload["inference"] else "a training step"
        title = f"Time of {step} of {described(self.spec)}, batch {batch}, on {self.speed.gpu}"
        return (Heading(title), self._table(), self._facts())

    def _table(self) -> Table:
        columns = (
            Column("layer", part=EVERY, key=True),
            Column("time", Kind.NUMBER, part=EVERY, key=True),
            Column("share", Kind.NUMBER),
            Column("bound by"),
            *(Column(name, Kind.NUMBER) for name in self.phases),
            Column("kernels", Kind.NUMBER, part=_KERNELS),
            Column("MACs", Kind.NUMBER, part=_KERNELS, counts="macs"),
            Column("bytes moved", Kind.NUMBER, part=_KERNELS),
            Column("MACs a byte", Kind.NUMBER, part=_KERNELS),
            Column("bytes of a forward pass", Kind.FORMULA, part=_FORMULAS),
        )
        rows = [
            TableRow(
                (
                    Label(row.name, row.path, row.level - 1, row.repeat),
                    *self._cells(row.phases),
                    row.sizes["forward"] if row.formula("forward") else None,
                ),
                strong=not row.leaf,
            )
            for row in self.folded
            if self.seconds_of(row.whole)
        ]
        total = TableRow(("step", *self._cells(self.phases), None), strong=True)
        return Table(columns, tuple(rows), (total,))

    def _cells(self, phases: Mapping[str, Cost]) -> tuple[Cell, ...]:
        cost = total(phases.values())
        seconds = self.seconds_of(cost)
        parts = (self.seconds_of(phases[name]) if name in phases else 0 for name in self.phases)
        return (
            Seconds(seconds),
            Share(seconds / self.seconds),
            self.bound_of(cost).value if seconds else None,
            *(Seconds(part) if part else None for part in parts),
            cost.launches,
            cost.macs or None,
            Bytes(cost.bytes),
            Figure(cost.macs / cost.bytes) if cost.macs else None,
        )

    @property
    def facts(self) -> dict[str, str]:
        """The time of the step, what bounds it, and what the prediction is worth, as lines."""
        whole = self.whole
        own, other = Seconds(whole.device), Seconds(whole.host)
        step = (
            f"{Seconds(self.seconds)}: the GPU waits for the host, which needs {other}; "
            f"{whole.launches:,} kernels take {own}"
            if self.waits_for_host
            else f"{Seconds(self.seconds)} of kernels, ahead of which the host is: it needs {other}"
        )
        shares = ", ".join(
            f"{bound} {Share(seconds / whole.device)}" for bound, seconds in whole.by_bound.items()
        )
        lines = {"step": step, "kernels": f"bound by {shares}"}
        lines |= self.cautions
        lines["found"] = self.found.sentence
        lines["speed"] = self._speed()
        return lines

    def _speed(self) -> str:
        if self.speed.measured:
            return f"{self.speed.by}; this prediction is for torch {self.torch}"
        return (
            f"{self.speed.by}; no step was measured on {self.speed.gpu}, whose errors may be larger"
        )

    def _facts(self) -> Facts:
        conditions = {
            "workload": pairs(self.workload),
            "spec": pairs(self.spec),
            "versions": pairs(self.versions),
            "convention": self.convention,
        }
        shown = {name: line for name, line in conditions.items() if line}
        return Facts(self.facts | shown, shown)

    def records(self) -> Records:
        columns = (
            *("path", "type", "repeat", "seconds", "share", "bound"),
            *(f"{name}_seconds" for name in _PHASES),
            *("launches", "macs", "bytes_read", "bytes_written", "macs_per_byte"),
            *(f"{name}_bytes" for name in _PHASES),
            *(f"{name}_bytes_formula" for name in _PHASES),
        )
        return Records(columns, tuple(map(self._record, self.rows)))

    def _record(self, row: TimeRow) -> tuple[str | int | float, ...]:
        cost = row.whole
        seconds = self.seconds_of(cost)
        costs = [row.phases.get(name, Cost()) for name in _PHASES]
        return (
            *(row.path, row.type, row.repeat, seconds, seconds / self.seconds),
            self.bound_of(cost).value,
            *(self.seconds_of(one) for one in costs),
            *(cost.launches, cost.macs, cost.read, cost.written),
            cost.macs / cost.bytes if cost.bytes else 0.0,
            *(one.bytes for one in costs),
            *(row.formula(name) for name in _PHASES),
        )

    def data(self) -> dict[str, object]:
        records = self.records()
        speed = asdict(self.speed)
        return {
            "spec": {name: plain(value) for name, value in self.spec.items()},
            "workload": {name: plain(value) for name, value in self.workload.items()},
            "versions": dict(self.versions),
            "convention": self.convention,
            "torch": self.torch,
            "totals": self.totals,
            "cautions": dict(self.cautions),
            "found": asdict(self.found),
            "speed": speed,
            "rows": [dict(zip(records.columns, row, strict=True)) for row in records.rows],
        }
