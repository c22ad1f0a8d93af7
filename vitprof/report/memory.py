"""Report of the memory of a step, layer by layer and at its peak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import groupby

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
from vitprof.report.layers import Row
from vitprof.request.budget import Budget, budget_record
from vitprof.request.specs import described
from vitprof.values.amounts import Bytes, Signed
from vitprof.values.options import Value, pairs, plain
from vitprof.values.size import Size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """Tensors that are alive at the peak.

    Attributes:
        kind: their purpose: parameters, gradients, saved, temporaries, ...
        path: path of their layer; empty for those of the whole model.
        size: their bytes, with a formula unless several are summed.
    """

    kind: str
    path: str
    size: Size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self.record() == other.record()

    @property
    def bytes(self) -> int:
        """Size of the tensors in bytes."""
        return self.size.value

    def record(self) -> dict[str, object]:
        """Return all fields by name; sizes are in bytes."""
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
    """Peak memory of a phase.

    Attributes:
        bytes: peak memory in bytes.
        layer: path of the layer that runs at the peak.
        by_kind: the same bytes by the purpose of the tensors.
    """

    bytes: int
    layer: str
    by_kind: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """Memory of a step on a named GPU, in bytes.

    Attributes:
        name: the GPU.
        torch: version of PyTorch whose kernels run.
        allocated: `torch.cuda.max_memory_allocated` of each phase.
        reserved: `torch.cuda.max_memory_reserved`, with caches released where the GPU is short.
        context: CUDA context with the kernels of a step loaded.
        context_source: who has measured that.
        convolution: path of a convolution whose workspace, which cuDNN alone knows, may raise
            the peak; empty if none can.
        workspace: bytes by which it may at most.
    """

    name: str
    torch: str
    allocated: Mapping[str, int]
    reserved: int
    context: int
    context_source: str
    convolution: str = ""
    workspace: int = 0

    @property
    def total(self) -> int:
        """Bytes that the driver reports for the process."""
        return self.reserved + self.context

    @property
    def sentence(self) -> str:
        """The total and its parts, in words."""
        phases = ", ".join(f"{name} {Bytes(size)}" for name, size in self.allocated.items())
        words = (
            f"{Bytes(self.total)} on {self.name} with torch {self.torch}: {Bytes(self.reserved)} "
            f"reserved, of which allocated at most in {phases}; and the CUDA context, "
            f"{Bytes(self.context)} ({self.context_source})"
        )
        if self.convolution:
            words += (
                f"; the workspace of {self.convolution} is cuDNN's choice and may raise the peak "
                f"by up to {Bytes(self.workspace)}"
            )
        return words

    def record(self) -> dict[str, object]:
        """Return all fields by name; sizes are in bytes."""
        return {**asdict(self), "allocated": dict(self.allocated), "total": self.total}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredMemory:
    """Memory of a step as it was measured on the GPU of this machine, in bytes.

    Attributes:
        device: name of the GPU.
        torch: version of PyTorch.
        cuda: version of CUDA.
        before: allocated before the model was built: cuBLAS workspaces.
        allocated: `torch.cuda.max_memory_allocated` of each phase.
        reserved: `torch.cuda.max_memory_reserved`.
        beside: used beyond what PyTorch reserved: the CUDA context, and other processes.
    """

    device: str
    torch: str
    cuda: str
    before: int
    allocated: Mapping[str, int]
    reserved: int
    beside: int

    def sentence(self, predicted: GpuMemory | None) -> str:
        """The measured peaks, each beside the predicted one if there is one."""
        said = []
        for name, size in self.allocated.items():
            words = f"{name} {Bytes(size)}"
            if predicted is not None:
                words += f" ({Signed(predicted.allocated[name] - size)} bytes predicted)"
            said.append(words)
        return (
            f"{', '.join(said)}; reserved {Bytes(self.reserved)}, beside it "
            f"{Bytes(self.beside)}; on {self.device} with torch {self.torch}, CUDA {self.cuda}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the workload that makes a step fit.

    Attributes:
        option: what to give, as words of the command line.
        bytes: memory that the step then takes.
    """

    option: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFit:
    """Fit of a step in a budget, and changes that would make it fit.

    Attributes:
        budget: memory, or a GPU.
        takes: bytes that the step takes of it.
        changes: ways to make it fit; empty if it does, or if there is none.
    """

    budget: Budget
    takes: int
    changes: tuple[Change, ...]

    @property
    def left(self) -> int:
        """Bytes that are left; negative if they are lacking."""
        return self.budget.bytes - self.takes

    @property
    def sentence(self) -> str:
        """Bytes that are left or lacking, and the way out."""
        if self.left >= 0:
            return f"yes: {Bytes(self.left)} are left of {self.budget.name}"
        words = f"no: {Bytes(-self.left)} are lacking of {self.budget.name}"
        if not self.changes:
            return f"{words}; not even one image fits, even with checkpointing and autocast"
        ways = (f"{change.option} ({Bytes(change.bytes)})" for change in self.changes)
        return f"{words}; what fits: {', '.join(ways)}"

    def record(self) -> dict[str, object]:
        """Return all fields by name; sizes are in bytes."""
        return {
            **budget_record(self.budget),
            "takes": self.takes,
            "left": self.left,
            "changes": [asdict(change) for change in self.changes],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """Comparison of the formula with a trace, both with the memory of a GPU's kernels.

    Attributes:
        gpu: name of the GPU.
        traced: peak bytes of the trace, by phase.
        formula: peak bytes of the formula, by phase; has to be equal.
    """

    gpu: str
    traced: Mapping[str, int]
    formula: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Comparison of the formula with a trace of the step on fake tensors.

    Attributes:
        traced: peak bytes of the trace, by phase.
        formula: peak bytes of the formula by the rules of the trace; has to be equal.
        apart: bytes that eager PyTorch holds more than the trace, by phase and reason.
        kernels: the same comparison with the kernels of a GPU; None without a GPU.
    """

    traced: Mapping[str, int]
    formula: Mapping[str, int]
    apart: Mapping[str, Mapping[str, int]]
    kernels: Kernels | None = None

    @property
    def peak_bytes(self) -> int:
        """Highest traced peak, in bytes."""
        return max(self.traced.values())

    @property
    def complaint(self) -> str:
        """Sentence on where formula and trace differ; empty if they agree."""
        both = [("", self.traced, self.formula)]
        if self.kernels is not None:
            name = f" with the kernels of {self.kernels.gpu}"
            both.append((name, self.kernels.traced, self.kernels.formula))
        for where, by_trace, by_formula in both:
            for phase, traced in by_trace.items():
                if by_formula[phase] != traced:
                    return (
                        f"in the {phase} phase{where} the formula says {by_formula[phase]:,} bytes "
                        f"and the trace {traced:,}, which have to be equal; please report this bug"
                    )
        return ""

    def sentence(self, phase: str) -> str:
        """Return how far eager PyTorch is from the trace at the peak of a phase, with reasons."""
        apart, held = self.apart[phase], Bytes(self.traced[phase])
        words = ""
        if self.kernels is not None:
            size = Bytes(self.kernels.traced[phase])
            words = f"; with the kernels of {self.kernels.gpu} {size}, the same to the byte"
        if not apart:
            return f"{held} on fake tensors, the same to the byte{words}"
        more = sum(apart.values())
        why = ", and ".join(
            f"{sentence} ({amount:+,})" if len(apart) > 1 else sentence
            for sentence, amount in apart.items()
        )
        return (
            f"{held} on fake tensors, by formula the same to the byte; eager PyTorch holds "
            f"{abs(more):,} bytes {'more' if more > 0 else 'less'}, since {why}{words}"
        )

    def record(self) -> dict[str, object]:
        """Return all fields by name; sizes are in bytes."""
        return {
            "peak_bytes": self.peak_bytes,
            "phases": dict(self.traced),
            "formula": dict(self.formula),
            "apart": {phase: dict(apart) for phase, apart in self.apart.items()},
            **({"kernels": asdict(self.kernels)} if self.kernels is not None else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Memory(Report):
    """Memory of a step, with its conditions.

    Attributes:
        spec: model, mixer, and every size.
        workload: settings of the step.
        versions: version of every package involved, by name.
        convention: sentence on what is counted.
        phases: peak of each phase: forward, backward, optimizer.
        kept: bytes saved for the backward pass at the end of the forward pass.
        held: tensors alive at the highest peak; their bytes add up to it.
        beside: comparison with a trace; None without a trace.
        gpu: memory on a GPU; None without a GPU.
        fits: fit of the step in a budget; None without a budget.
        measured: memory of the step on the GPU of this machine; None if it was not measured.
        tree: bytes that each layer saves for the backward pass, and the rows that sum them.
        folded: the same with equal layers in one row, for people.
        traced: True if all figures are those of a trace, and none by formula.
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
    gpu: GpuMemory | None
    fits: BudgetFit | None
    measured: MeasuredMemory | None
    tree: tuple[Row, ...]
    folded: tuple[Row, ...]
    traced: bool = False

    @property
    def phase(self) -> str:
        """Name of the phase with the highest peak."""
        return max(self.phases, key=lambda phase: self.phases[phase].bytes)

    @property
    def peak(self) -> PhasePeak:
        """Highest peak of all phases."""
        return self.phases[self.phase]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Leaves of the tree, whose bytes add up to `kept`."""
        return tuple(row for row in self.tree if row.leaf)

    @property
    def complaint(self) -> str:
        return "" if self.beside is None else self.beside.complaint

    @property
    def totals(self) -> dict[str, int | str]:
        """Highest peak in bytes, its phase and layer, and its parts."""
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
        kept = [self._kept()] if self.folded else []
        return (title, *kept, self._held(), self._facts())

    def _kept(self) -> Table:
        folded = any(row.repeat > 1 for row in self.folded)
        columns = (
            Column("kept for the backward pass", part=EVERY, key=True),
            Column("memory", Kind.NUMBER, part=EVERY, key=True),
            *([Column("of one", Kind.NUMBER)] if folded else []),
            *([] if self.traced else [Column("bytes, by formula", Kind.FORMULA)]),
        )
        rows = []
        for row in self.folded:
            each = (Bytes(row.each) if row.repeat > 1 else None,) if folded else ()
            sizes = () if self.traced else (row.size,)
            cells: tuple[Cell, ...] = (row.label, Bytes(row.count), *each, *sizes)
            rows.append(TableRow(cells, strong=not row.leaf))
        blanks = (None,) * (folded + (not self.traced))
        total = TableRow(("all", Bytes(self.kept), *blanks), strong=True)
        return Table(columns, tuple(rows), (total,))

    def _held(self) -> Table:
        columns = (
            Column("held at the peak", part=EVERY, key=True),
            Column("memory", Kind.NUMBER, part=EVERY, key=True),
            *([] if self.traced else [Column("bytes, by formula", Kind.FORMULA)]),
        )
        rows = []
        for kind, held in groupby(self.held, key=lambda held: held.kind):
            parts = list(held)
            alone = None if parts[0].path else parts[0].size
            rows.append(self._row(kind, self.peak.by_kind[kind], alone))
            rows += [
                self._row(Label(part.path, part.path, 1), part.bytes, part.size)
                for part in parts
                if part.path
            ]
        total = replace(self._row("peak", self.peak.bytes, None), strong=True)
        return Table(columns, tuple(rows), (total,))

    def _row(self, name: Cell, size: int, formula: Size | None) -> TableRow:
        """Return a row of what is held; a trace has no formulas."""
        return TableRow((name, Bytes(size), *(() if self.traced else (formula,))))

    @property
    def facts(self) -> dict[str, str]:
        """The peaks, the trace, the GPU, what was measured and the fit, as named lines."""
        phases = (f"{name} {Bytes(peak.bytes)}" for name, peak in self.phases.items())
        lines = {
            "peak": f"{Bytes(self.peak.bytes)}, {self._place()}",
            "phases": ", ".join(phases),
            "trace": self._trace(),
        }
        if self.gpu is not None:
            lines["on the GPU"] = self.gpu.sentence
        if self.measured is not None:
            lines["measured"] = self.measured.sentence(self.gpu)
        if self.fits is not None:
            lines["fits"] = self.fits.sentence
        return lines

    def _facts(self) -> Facts:
        """Return the facts and the conditions, as named lines."""
        conditions = {
            "workload": pairs(self.workload),
            "spec": pairs(self.spec),
            "versions": pairs(self.versions),
            "convention": self.convention,
        }
        return Facts(self.facts | conditions, conditions)

    def _place(self) -> str:
        if self.phase == "optimizer":
            return "in the step of the optimizer"
        return f"in the {self.phase} pass, at {self.peak.layer}"

    def _trace(self) -> str:
        if self.beside is None:
            if self.traced:
                return "all figures are those of a real step on fake tensors"
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
            **({"traced": True} if self.traced else {}),
            "gpu": self.gpu and self.gpu.record(),
            "fits": self.fits and self.fits.record(),
            "measured": self.measured and asdict(self.measured),
            "held": [held.record() for held in self.held],
            "rows": [dict(zip(records.columns, row, strict=True)) for row in records.rows],
        }
