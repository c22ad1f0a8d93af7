"""The largest batch that fits, by trial or predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields

from vitprof.measuring.search import MARGIN_PERCENT, Search, Stopped, Trial
from vitprof.measuring.trials import Device
from vitprof.report.base import Report
from vitprof.report.document import (
    EVERY,
    Cell,
    Column,
    Document,
    Facts,
    Heading,
    Kind,
    Records,
    Row,
    Table,
)
from vitprof.report.memory import Gpu
from vitprof.request.specs import described
from vitprof.values.amounts import Bytes
from vitprof.values.options import Value, pairs, plain

PREDICTED = (
    "the peak is the most that the tensors of a step hold at once, by formula; what a GPU "
    "adds (fragmentation, library workspaces, the CUDA context) is not in it"
)


@dataclass(frozen=True, kw_only=True)
class TriedBatch(Report):
    """The largest batch by trial, with the conditions under which it holds.

    Attributes:
        spec: model, mixer, and every size.
        workload: how the model was trained or run.
        device: where.
        versions: of every package that had a part in it.
        convention: what a peak is and what fits, in a sentence.
        search: every trial, and what follows from them.
    """

    command = "batch-size"
    spec: Mapping[str, Value]
    workload: Mapping[str, Value]
    device: Device
    versions: Mapping[str, str]
    convention: str
    search: Search

    @property
    def batch(self) -> int | None:
        """The largest batch that was tried and fitted; None where none did."""
        return self.search.largest

    @property
    def margin(self) -> str:
        """What is recommended, in a sentence."""
        return f"{MARGIN_PERCENT} % of the largest that fitted, rounded down, and 1 at least"

    @property
    def interrupted(self) -> bool:
        """If the user ended the search."""
        return self.search.stopped is Stopped.INTERRUPTED

    @property
    def complaint(self) -> str:
        return "" if self.batch is not None and self.search.complete else self.search.why

    def document(self) -> Document:
        columns = (
            *(Column(name, Kind.NUMBER, EVERY, key=True) for name in ("batch", "fits")),
            *(Column(name, Kind.NUMBER) for name in ("peak", "step, s")),
            Column("why not", Kind.TEXT),
        )
        rows = [
            Row(_cells(trial), strong=trial.batch == self.batch) for trial in self.search.trials
        ]
        title = f"Largest batch of {described(self.spec)}, by trial"
        return (Heading(title), Table(columns, tuple(rows)), Facts(self._facts()))

    def _facts(self) -> dict[str, str]:
        search, device = self.search, self.device
        return {
            "largest": _number(search.largest),
            "recommended": f"{_number(search.recommended)} ({self.margin})",
            "stopped": search.why,
            "budget": str(Bytes(search.budget_bytes)),
            "device": f"{device.type} {device.name}".rstrip(),
            "strategy": f"{search.strategy} from {search.start:,}, up to {search.most:,}",
            "workload": pairs(self.workload),
            "spec": pairs(self.spec),
            "versions": pairs(self.versions),
            "convention": self.convention,
        }

    def records(self) -> Records:
        """A row a trial."""
        columns = tuple(field.name for field in fields(Trial))
        rows = (tuple(asdict(trial).values()) for trial in self.search.trials)
        return Records(columns, tuple(rows))

    def data(self) -> dict[str, object]:
        """All of it; sizes of memory are bytes, times are seconds."""
        search = self.search
        return {
            "spec": {name: plain(value) for name, value in self.spec.items()},
            "workload": {name: plain(value) for name, value in self.workload.items()},
            "device": asdict(self.device),
            "versions": dict(self.versions),
            "convention": self.convention,
            "strategy": search.strategy,
            "start": search.start,
            "max_batch": search.most,
            "budget_bytes": search.budget_bytes,
            "largest": search.largest,
            "recommended": search.recommended,
            "margin": self.margin,
            "stopped": search.stopped,
            "why": search.why,
            "trials": [asdict(trial) for trial in search.trials],
        }


def _cells(trial: Trial) -> tuple[Cell, ...]:
    return (
        trial.batch,
        "OK" if trial.fits else "NG",
        None if trial.peak_bytes is None else Bytes(trial.peak_bytes),
        None if trial.seconds is None else f"{trial.seconds:.3f}",
        trial.reason,
    )


def _number(batch: int | None) -> str:
    return "none" if batch is None else f"{batch:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a step of a batch takes.

    Attributes:
        batch: images.
        peak_bytes: by formula.
        traced_bytes: by a trace; None without one.
        agrees: if the formula, read as the trace runs, gives the same in each phase.
        gpu: what a GPU holds of it; None without a trace.
    """

    batch: int
    peak_bytes: int
    traced_bytes: int | None
    agrees: bool | None
    gpu: Gpu | None

    def record(self) -> dict[str, object]:
        """All of it by name, in bytes."""
        return {**asdict(self), "gpu": self.gpu and self.gpu.record()}


@dataclass(frozen=True, kw_only=True)
class PredictedBatch(Report):
    """The largest batch without a device, with the conditions under which it holds.

    Attributes:
        spec: model, mixer, and every size.
        workload: how the model would be trained or run.
        versions: of every package that had a part in it.
        budget_bytes: the memory that a step may take.
        largest: what the largest batch that fits takes; None where not even one image fits.
        next: what one image more takes, which is over the budget.
        on_gpu: the largest batch with all that a GPU adds; None without a trace.
    """

    command = "batch-size"
    spec: Mapping[str, Value]
    workload: Mapping[str, Value]
    versions: Mapping[str, str]
    budget_bytes: int
    largest: Fit | None
    next: Fit
    on_gpu: int | None

    @property
    def batch(self) -> int | None:
        """The largest batch that fits by formula; None where not even one image does."""
        return None if self.largest is None else self.largest.batch

    @property
    def confirmed(self) -> bool | None:
        """If the formula agrees with a trace of both batches; None without one."""
        if self.next.agrees is None:
            return None
        return self.next.agrees and (self.largest is None or self.largest.agrees is True)

    @property
    def complaint(self) -> str:
        if self.confirmed is False:
            return "formula and trace differ, and have to be equal; please report it"
        if self.largest is None:
            needed, there = Bytes(self.next.peak_bytes), Bytes(self.budget_bytes)
            return f"not even 1 image fits: it takes {needed}, and there are {there}"
        return ""

    def document(self) -> Document:
        title = Heading(f"Largest batch of {described(self.spec)}, predicted")
        lines = {
            "largest": _number(self.batch),
            "budget": str(Bytes(self.budget_bytes)),
            "formula": self._both(lambda fit: fit.peak_bytes),
        }
        if self.confirmed is not None:
            says = "the same by its rules" if self.confirmed else "OTHERWISE"
            lines["trace"] = f"{says}: {self._both(lambda fit: fit.traced_bytes or 0)}"
        if self.next.gpu is not None:
            fits = f"{self.on_gpu:,} fits; " if self.on_gpu else ""
            lines["on a GPU"] = fits + self._both(lambda fit: fit.gpu.total if fit.gpu else 0)
        conditions = {
            "workload": pairs(self.workload),
            "spec": pairs(self.spec),
            "versions": pairs(self.versions),
            "convention": PREDICTED,
        }
        return (title, Facts(lines | conditions))

    def _both(self, size: Callable[[Fit], int]) -> str:
        fits = f"{self.largest.batch:,} takes {Bytes(size(self.largest))}, " if self.largest else ""
        return f"{fits}{self.next.batch:,} would take {Bytes(size(self.next))}"

    def records(self) -> Records:
        """A row a batch: the largest that fits, and the next."""
        columns = ("batch", "fits", "peak_bytes", "traced_bytes", "agrees", "gpu_bytes")
        fits = [(self.largest, True)] if self.largest else []
        return Records(
            columns,
            tuple(
                (
                    *(fit.batch, fitting, fit.peak_bytes, fit.traced_bytes, fit.agrees),
                    None if fit.gpu is None else fit.gpu.total,
                )
                for fit, fitting in (*fits, (self.next, False))
            ),
        )

    def data(self) -> dict[str, object]:
        """All of it; sizes of memory are bytes."""
        return {
            "spec": {name: plain(value) for name, value in self.spec.items()},
            "workload": {name: plain(value) for name, value in self.workload.items()},
            "versions": dict(self.versions),
            "convention": PREDICTED,
            "budget_bytes": self.budget_bytes,
            "predicted": self.batch or 0,
            "confirmed": self.confirmed,
            "on_gpu": self.on_gpu,
            "largest": self.largest and self.largest.record(),
            "next": self.next.record(),
        }
