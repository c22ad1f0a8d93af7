"""What a step holds in memory, layer by layer and at its peak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import groupby

from vitprof.report.base import Report
from vitprof.report.counts import Row
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
from vitprof.values.amounts import Bytes
from vitprof.values.options import Value, pairs, plain
from vitprof.values.size import Size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """Tensors that are held at the peak.

    Attributes:
        kind: what they are for: parameters, gradients, saved, temporaries, ...
        path: the layer that they belong to; empty for those of the whole model.
        size: their bytes, with their arithmetic unless many are summed.
    """

    kind: str
    path: str
    size: Size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self.record() == other.record()

    @property
    def bytes(self) -> int:
        """How many bytes they take."""
        return self.size.value

    def record(self) -> dict[str, object]:
        """All of it by name."""
        closed = self.size.is_closed_form
        return {
            "kind": self.kind,
            "path": self.path,
            "formula": self.size.formula if closed else "",
            "numbers": self.size.numbers if closed else "",
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePeak:
    """The most that is held at once in a phase.

    Attributes:
        bytes: how many.
        layer: the path of the layer that runs at that instant.
        by_kind: the same bytes by what they are for.
    """

    bytes: int
    layer: str
    by_kind: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What a GPU holds of it, in bytes.

    Attributes:
        allocated: tensors in blocks of 512 bytes, at the peak.
        reserved: the segments that PyTorch's allocator takes for them.
        workspaces: what cuBLAS takes for itself.
        context: what the driver takes for a process.
    """

    allocated: int
    reserved: int
    workspaces: int
    context: int

    @property
    def total(self) -> int:
        """What the driver shows."""
        return self.reserved + self.workspaces + self.context

    @property
    def sentence(self) -> str:
        """All of it in words."""
        return (
            f"{Bytes(self.total)}: segments {Bytes(self.reserved)} for tensors of "
            f"{Bytes(self.allocated)} in blocks of 512 bytes, cuBLAS workspaces "
            f"{Bytes(self.workspaces)}, CUDA context {Bytes(self.context)}"
        )

    def record(self) -> dict[str, int]:
        """All of it by name."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A trace of the step beside the formula, which is then read as fake tensors run.

    Attributes:
        traced: the peak of each phase, traced.
        formula: the same by formula; they have to be equal.
        apart: by how many bytes eager PyTorch holds more, or less, by phase and by why.
    """

    traced: Mapping[str, int]
    formula: Mapping[str, int]
    apart: Mapping[str, Mapping[str, int]]

    @property
    def peak_bytes(self) -> int:
        """The highest peak, traced."""
        return max(self.traced.values())

    @property
    def complaint(self) -> str:
        """Sentence to print if formula and trace differ; empty if they agree."""
        for phase, traced in self.traced.items():
            if self.formula[phase] != traced:
                return (
                    f"in the {phase} phase the formula says {self.formula[phase]:,} bytes and the "
                    f"trace {traced:,}, which have to be equal; please report it"
                )
        return ""

    def sentence(self, phase: str) -> str:
        """How far eager PyTorch is from the trace at the peak of a phase, and why."""
        apart, held = self.apart[phase], Bytes(self.traced[phase])
        if not apart:
            return f"{held} on fake tensors, the same to the byte"
        more = sum(apart.values())
        why = ", and ".join(
            f"{sentence} ({amount:+,})" if len(apart) > 1 else sentence
            for sentence, amount in apart.items()
        )
        return (
            f"{held} on fake tensors, by formula the same to the byte; eager PyTorch holds "
            f"{abs(more):,} bytes {'more' if more > 0 else 'less'}, since {why}"
        )

    def record(self) -> dict[str, object]:
        """All of it by name."""
        return {
            "peak_bytes": self.peak_bytes,
            "phases": dict(self.traced),
            "formula": dict(self.formula),
            "apart": {phase: dict(apart) for phase, apart in self.apart.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Memory(Report):
    """What a step holds, with the conditions under which it holds.

    Attributes:
        spec: model, mixer, and every size.
        workload: how the model is trained or run.
        versions: of every package that had a part in it.
        convention: what is counted, in a sentence.
        phases: the peak of each phase: forward, backward, optimizer.
        kept: bytes that are kept for the backward pass when the forward pass is over.
        held: what is held at the highest peak; the bytes add up to it.
        beside: a trace beside the formula; None if nothing was traced.
        gpu: what a GPU holds; None if nothing was traced, or on a CPU.
        tree: what each layer keeps for the backward pass, and the rows that sum it.
    """

    command = "memory"
    spec: Mapping[str, Value]
    workload: Mapping[str, Value]
    versions: Mapping[str, str]
    convention: str
    phases: Mapping[str, PhasePeak]
    kept: int
    held: tuple[Held, ...]
    beside: Beside | None
    gpu: Gpu | None
    tree: tuple[Row, ...]

    @property
    def phase(self) -> str:
        """The phase with the highest peak."""
        return max(self.phases, key=lambda phase: self.phases[phase].bytes)

    @property
    def peak(self) -> PhasePeak:
        """The highest peak."""
        return self.phases[self.phase]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The leaves; their bytes add up to what is kept."""
        return tuple(row for row in self.tree if row.leaf)

    @property
    def complaint(self) -> str:
        return "" if self.beside is None else self.beside.complaint

    @property
    def totals(self) -> dict[str, int | str]:
        """The highest peak, where it is, and its parts."""
        return {
            "peak_bytes": self.peak.bytes,
            "phase": self.phase,
            "layer": self.peak.layer,
            **self.peak.by_kind,
            "kept_for_backward": self.kept,
        }

    def document(self) -> Document:
        batch = self.workload["batch"]
        step = "inference" if self.workload["inference"] else "a training step"
        title = Heading(f"Memory of {step} of {described(self.spec)}, batch {batch}")
        kept = [self._kept()] if self.tree else []
        return (title, *kept, self._held(), Facts(self._facts()))

    def _kept(self) -> Table:
        folded = any(row.repeat > 1 for row in self.tree)
        columns = (
            Column("kept for the backward pass", part=EVERY, key=True),
            Column("memory", Kind.NUMBER, part=EVERY, key=True),
            *([Column("of one", Kind.NUMBER)] if folded else []),
            Column("bytes, by formula", Kind.FORMULA),
        )
        rows = []
        for row in self.tree:
            each = (Bytes(row.each) if row.repeat > 1 else None,) if folded else ()
            cells: tuple[Cell, ...] = (row.label, Bytes(row.count), *each, row.size)
            rows.append(TableRow(cells, strong=not row.leaf))
        blanks = (None,) * (1 + folded)
        total = TableRow(("all", Bytes(self.kept), *blanks), strong=True)
        return Table(columns, tuple(rows), (total,))

    def _held(self) -> Table:
        columns = (
            Column("held at the peak", part=EVERY, key=True),
            Column("memory", Kind.NUMBER, part=EVERY, key=True),
            Column("bytes, by formula", Kind.FORMULA),
        )
        rows = []
        for kind, held in groupby(self.held, key=lambda held: held.kind):
            parts = list(held)
            alone = None if parts[0].path else parts[0].size
            rows.append(TableRow((kind, Bytes(self.peak.by_kind[kind]), alone)))
            rows += [
                TableRow((Label(part.path, part.path, 1), Bytes(part.bytes), part.size))
                for part in parts
                if part.path
            ]
        total = TableRow(("peak", Bytes(self.peak.bytes), None), strong=True)
        return Table(columns, tuple(rows), (total,))

    def _facts(self) -> dict[str, str]:
        """The peaks, what a trace and a GPU say, and the conditions."""
        phases = (f"{name} {Bytes(peak.bytes)}" for name, peak in self.phases.items())
        lines = {
            "peak": f"{Bytes(self.peak.bytes)}, {self._place()}",
            "phases": ", ".join(phases),
            "trace": self._trace(),
        }
        if self.gpu is not None:
            lines["on a GPU"] = self.gpu.sentence
        return lines | {
            "workload": pairs(self.workload),
            "spec": pairs(self.spec),
            "versions": pairs(self.versions),
            "convention": self.convention,
        }

    def _place(self) -> str:
        if self.phase == "optimizer":
            return "in the step of the optimizer"
        return f"in the {self.phase} pass, at {self.peak.layer}"

    def _trace(self) -> str:
        if self.beside is None:
            return "none; --trace runs a real step on fake tensors"
        return self.beside.complaint or self.beside.sentence(self.phase)

    def records(self) -> Records:
        columns = ("path", "type", "repeat", "formula", "numbers", "each", "bytes")
        return Records(
            columns,
            tuple(
                (
                    *(row.path, row.type, row.repeat, row.formula, row.numbers),
                    *(row.each, row.count),
                )
                for row in self.rows
            ),
        )

    def data(self) -> dict[str, object]:
        records = self.records()
        return {
            "spec": {name: plain(value) for name, value in self.spec.items()},
            "workload": {name: plain(value) for name, value in self.workload.items()},
            "versions": dict(self.versions),
            "convention": self.convention,
            "totals": self.totals,
            "phases": {
                name: {"peak_bytes": peak.bytes, "layer": peak.layer, **peak.by_kind}
                for name, peak in self.phases.items()
            },
            "trace": self.beside and self.beside.record(),
            "gpu": self.gpu and self.gpu.record(),
            "held": [held.record() for held in self.held],
            "rows": [dict(zip(records.columns, row, strict=True)) for row in records.rows],
        }
