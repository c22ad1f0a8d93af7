"""What a step holds in memory, as plain data."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import StringIO
from typing import TYPE_CHECKING

from vitprof.options import Value, plain
from vitprof.report.to_json import SCHEMA

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from vitprof.report.report import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Tensors that are held at the peak.

    Attributes:
        kind: what they are for: parameters, gradients, saved, temporaries, ...
        path: the layer that they belong to; empty for those of the whole model.
        formula: the closed form of their bytes, with names; empty where many are summed.
        numbers: the same with numbers put in.
        bytes: how many.
    """

    kind: str
    path: str
    formula: str
    numbers: str
    bytes: int


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
class Card:
    """What a CUDA card holds of it, in bytes.

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
        """Sentence to print where formula and trace differ; empty where they agree."""
        for phase, traced in self.traced.items():
            if self.formula[phase] != traced:
                return (
                    f"in the {phase} phase the formula says {self.formula[phase]:,} bytes and the "
                    f"trace {traced:,}, which have to be equal; please report it"
                )
        return ""

    def record(self) -> dict[str, object]:
        """All of it by name."""
        return {
            "peak_bytes": self.peak_bytes,
            "phases": dict(self.traced),
            "formula": dict(self.formula),
            "apart": {phase: dict(apart) for phase, apart in self.apart.items()},
        }


@dataclass(frozen=True, kw_only=True)
class MemoryReport:
    """What a step holds, with the conditions under which it holds.

    Attributes:
        spec: model, mixer, and every size.
        workload: how the model is trained or run.
        versions: of every package that had a part in it.
        convention: what is counted, in a sentence.
        phases: the peak of each phase: forward, backward, optimizer.
        kept: bytes that are kept for the backward pass when the forward pass is over.
        held: what is held at the highest peak; the bytes add up to it.
        beside: a trace beside the formula; None where nothing was traced.
        card: what a CUDA card holds; None where nothing was traced, or on a CPU.
        tree: what each layer keeps for the backward pass, and the rows that sum it.
    """

    spec: Mapping[str, Value]
    workload: Mapping[str, Value]
    versions: Mapping[str, str]
    convention: str
    phases: Mapping[str, PhasePeak]
    kept: int
    held: tuple[Held, ...]
    beside: Beside | None
    card: Card | None
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
        """Sentence to print where formula and trace differ; empty where they agree."""
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

    def to_csv(self) -> str:
        """What each layer keeps: one header, one line a row, exact bytes."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_record(row).values() for row in self.rows)
        return text.getvalue()

    def to_json(self) -> str:
        """The whole report; sizes of memory are bytes."""
        document = {
            "schema": SCHEMA,
            "command": "memory",
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
            "card": self.card and self.card.record(),
            "held": [asdict(held) for held in self.held],
            "rows": [_record(row) for row in self.rows],
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """What each layer keeps and what is held at the peak, as GitHub tables."""
        from vitprof.report.memory_to_markdown import memory_to_markdown

        return memory_to_markdown(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from vitprof.report.memory_to_table import memory_to_table

        yield from memory_to_table(self)


_COLUMNS = ("path", "type", "repeat", "formula", "numbers", "each", "bytes")


def _record(row: Row) -> dict[str, str | int]:
    cells = (row.path, row.type, row.repeat, row.formula, row.numbers, row.each, row.count)
    return dict(zip(_COLUMNS, cells, strict=True))
