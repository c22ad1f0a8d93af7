"""Report of the memory of a step in several dtypes, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

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
    Row,
    Table,
)
from vitprof.report.memory import Memory
from vitprof.request.specs import described
from vitprof.values.amounts import Bytes
from vitprof.values.options import Value, pairs

_OF_A_DTYPE = ("dtype", "autocast")  # settings of a step that differ
_Row = tuple[str, int, Callable[[Memory], Cell]]  # name, level, and what is in it of a report


@dataclass(frozen=True, kw_only=True)
class MemoryByDtype(Report):
    """Memory of a step in several dtypes.

    Attributes:
        reports: the memory in each dtype, such as `fp32`, `bf16` or `bf16-autocast`.
    """

    command = "memory"
    reports: Mapping[str, Memory]

    @property
    def complaint(self) -> str:
        said = {name: report.complaint for name, report in self.reports.items()}
        return next((f"{name}: {words}" for name, words in said.items() if words), "")

    @property
    def workload(self) -> dict[str, Value]:
        """Settings of the step that do not depend on the dtype."""
        workload = self._first.workload
        return {name: value for name, value in workload.items() if name not in _OF_A_DTYPE}

    @property
    def _first(self) -> Memory:
        return next(iter(self.reports.values()))

    def document(self) -> Document:
        first = self._first
        step = "inference" if first.workload["inference"] else "a training step"
        title = f"Memory of {step} of {described(first.spec)}, batch {first.workload['batch']}"
        return (Heading(title), self._table(), self._facts())

    def _table(self) -> Table:
        columns = [Column("memory", part=EVERY, key=True)]
        columns += [Column(name, Kind.NUMBER) for name in self.reports]
        rows = []
        for name, level, cell in self._rows():
            cells = (Label(name, name, level), *map(cell, self.reports.values()))
            rows.append(Row(cells, strong=not level))
        return Table(tuple(columns), tuple(rows))

    def _rows(self) -> Iterator[_Row]:
        """Yield the rows: peaks of the phases, what is held at the highest, the GPU, the fit."""
        yield "peak", 0, lambda one: Bytes(one.peak.bytes)
        yield from ((phase, 1, _phase(phase)) for phase in self._first.phases)
        yield "held at the peak", 0, lambda one: Bytes(one.peak.bytes)
        yield from ((kind, 1, _kind(kind)) for kind in self._kinds())
        yield "kept for the backward pass", 0, lambda one: Bytes(one.kept)
        gpu, fits = self._first.gpu, self._first.fits
        if gpu is not None:
            yield f"on {gpu.name}", 0, _gpu("total")
            yield "reserved", 1, _gpu("reserved")
            yield "CUDA context", 1, _gpu("context")
        if self._first.measured is not None:
            yield "reserved, measured", 0, _measured
        if fits is not None:
            yield f"fits {fits.budget.name}", 0, _fits
            yield "left", 1, _left

    def _kinds(self) -> list[str]:
        """Return the purposes of tensors that are held at one of the peaks."""
        held = [one.peak.by_kind.items() for one in self.reports.values()]
        return list(dict.fromkeys(kind for own in held for kind, size in own if size))

    def _facts(self) -> Facts:
        first = self._first
        lines: dict[str, str] = {}
        for fact in _FACTS:
            own = {name: one.facts.get(fact, "") for name, one in self.reports.items()}
            if fact == "fits":  # the table has what is left; a line says what would fit
                own = {name: words for name, words in own.items() if self._lacks(name)}
            elif len({*own.values()}) == 1:
                own = {"": own[next(iter(own))]}
            lines |= {f"{fact}, {name}".rstrip(", "): words for name, words in own.items() if words}
        conditions = {
            "workload": pairs(self.workload),
            "spec": pairs(first.spec),
            "versions": pairs(first.versions),
            "convention": first.convention,
        }
        return Facts(lines | conditions, conditions)

    def _lacks(self, name: str) -> bool:
        """Return True if the step of a dtype lacks memory."""
        fits = self.reports[name].fits
        return fits is not None and fits.left < 0

    def records(self) -> Records:
        """Return one row per dtype; memory is in bytes."""
        phases, kinds = [*self._first.phases], self._kinds()
        columns = ["dtype", "peak_bytes", "phase", "layer", *(f"{name}_bytes" for name in phases)]
        columns += [*(kind.replace(" ", "_") for kind in kinds), "kept_for_backward"]
        columns += ["gpu_bytes", "left_bytes"]
        rows = (
            (
                *(name, one.peak.bytes, one.phase, one.peak.layer),
                *(one.phases[phase].bytes for phase in phases),
                *(one.peak.by_kind.get(kind, 0) for kind in kinds),
                *(one.kept, None if one.gpu is None else one.gpu.total),
                None if one.fits is None else one.fits.left,
            )
            for name, one in self.reports.items()
        )
        return Records(tuple(columns), tuple(rows))

    def data(self) -> dict[str, object]:
        return {"dtypes": {name: one.data() for name, one in self.reports.items()}}


_FACTS = ("peak", "trace", "measured", "fits")  # named lines of a report that differ by dtype


def _phase(phase: str) -> Callable[[Memory], Cell]:
    return lambda one: Bytes(one.phases[phase].bytes)


def _kind(kind: str) -> Callable[[Memory], Cell]:
    return lambda one: Bytes(one.peak.by_kind.get(kind, 0))


def _gpu(part: str) -> Callable[[Memory], Cell]:
    return lambda one: None if one.gpu is None else Bytes(getattr(one.gpu, part))


def _measured(one: Memory) -> Cell:
    return None if one.measured is None else Bytes(one.measured.reserved)


def _left(one: Memory) -> Cell:
    if one.fits is None:
        return None
    return f"{'−' if one.fits.left < 0 else ''}{Bytes(abs(one.fits.left))}"


def _fits(one: Memory) -> Cell:
    return None if one.fits is None else "yes" if one.fits.left >= 0 else "no"
