"""Reports of the largest batch that fits, found by trial or predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields

from vitprof.cuda.versions import spell
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
from vitprof.report.memory import GpuMemory
from vitprof.request.budget import Budget, budget_record
from vitprof.request.specs import described
from vitprof.values.amounts import Bytes
from vitprof.values.options import Value, pairs, plain

PREDICTED = (
    "the peak is the most that the tensors of a step hold at once, {}; what a GPU "
    "adds (fragmentation, library workspaces, the CUDA context) is not in it"
)


@dataclass(frozen=True, kw_only=True)
class TriedBatch(Report):
    """Largest batch found by trial, with its conditions.

    Attributes:
        spec: model, mixer, and every size.
        workload: settings of the step, without the batch.
        device: device of the trials.
        versions: version of every package involved, by name.
        convention: sentence that defines the peak and when a batch fits.
        search: every trial and the result.
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
        """Largest batch that was tried and fits; None if none does."""
        return self.search.largest

    @property
    def margin(self) -> str:
        """Sentence on how the recommended batch follows from the largest."""
        return f"{MARGIN_PERCENT} % of the largest that fitted, rounded down, and 1 at least"

    @property
    def interrupted(self) -> bool:
        """True if the user interrupted the search."""
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
        return (Heading(title), Table(columns, tuple(rows)), self._facts())

    def _facts(self) -> Facts:
        search, device = self.search, self.device
        lines = {
            "largest": _number(search.largest),
            "recommended": f"{_number(search.recommended)} ({self.margin})",
            "stopped": search.why,
            "budget": str(Bytes(search.budget_bytes)),
        }
        conditions = {
            "device": f"{device.type} {device.name}".rstrip(),
            "strategy": f"{search.strategy} from {search.start:,}, up to {search.most:,}",
            "workload": pairs(self.workload),
            "spec": pairs(self.spec),
            "versions": pairs(self.versions),
            "convention": self.convention,
        }
        return Facts(lines | conditions, conditions)

    def records(self) -> Records:
        """Return one row per trial."""
        columns = tuple(field.name for field in fields(Trial))
        rows = (tuple(asdict(trial).values()) for trial in self.search.trials)
        return Records(columns, tuple(rows))

    def data(self) -> dict[str, object]:
        """Return the whole report; memory is in bytes, time in seconds."""
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
    """Memory of a step at one batch.

    Attributes:
        batch: images per step.
        peak_bytes: peak memory of the tensors, by formula, or of a module by a trace.
        traced_bytes: peak memory of a trace; None without one.
        agrees: True if formula and trace agree in every phase; None without a trace.
        gpu: memory on the GPU; None without a GPU.
    """

    batch: int
    peak_bytes: int
    traced_bytes: int | None
    agrees: bool | None
    gpu: GpuMemory | None

    @property
    def bytes(self) -> int:
        """Memory that the budget has to hold: all of it on a GPU, else that of the tensors."""
        return self.peak_bytes if self.gpu is None else self.gpu.total

    def record(self) -> dict[str, object]:
        """Return all fields by name; memory is in bytes."""
        return {**asdict(self), "gpu": self.gpu and self.gpu.record()}


@dataclass(frozen=True, kw_only=True)
class PredictedBatch(Report):
    """Largest batch predicted without a device, with its conditions.

    Attributes:
        spec: model, mixer, and every size.
        workload: settings of the step, without the batch.
        versions: version of every package involved, by name.
        budget: memory, or a GPU with all that it adds.
        largest: memory at the largest batch that fits; None if not even one image fits.
        next: memory with one image more, which is over the budget; None if the cap on the batch
            was reached, so that more may fit, or a kernel takes no more.
        limit: sentence on the kernel that takes no more images; empty if memory is the limit.
        by_tensors: largest batch of which the tensors alone fit, by formula.
    """

    command = "batch-size"
    spec: Mapping[str, Value]
    workload: Mapping[str, Value]
    versions: Mapping[str, str]
    budget: Budget
    largest: Fit | None
    next: Fit | None
    limit: str = ""
    by_tensors: int

    @property
    def batch(self) -> int | None:
        """Largest batch that fits; None if not even one image fits."""
        return None if self.largest is None else self.largest.batch

    @property
    def capped(self) -> bool:
        """True if the cap on the batch was reached, so that more may fit."""
        return self.next is None and not self.limit

    @property
    def fits(self) -> tuple[Fit, ...]:
        """Largest batch that fits, and the next, as far as there are these."""
        return tuple(fit for fit in (self.largest, self.next) if fit is not None)

    @property
    def confirmed(self) -> bool | None:
        """True if the formula agrees with the traces of both batches; None without a trace."""
        if any(fit.agrees is None for fit in self.fits):
            return None
        return all(fit.agrees for fit in self.fits)

    @property
    def complaint(self) -> str:
        if self.confirmed is False:
            return "formula and trace differ but have to be equal; please report this bug"
        if self.largest is None and self.next is not None:
            return (
                f"not even 1 image fits: it takes {Bytes(self.next.bytes)}, and the budget is "
                f"{Bytes(self.budget.bytes)}"
            )
        return ""

    def document(self) -> Document:
        title = Heading(f"Largest batch of {described(self.spec)}, predicted")
        more = " or more: the cap on the batch is reached" if self.capped else ""
        lines = {
            "largest": _number(self.batch) + more,
            "budget": self.budget.name,
        }
        if self.limit:
            lines["limit"] = self.limit
        if any("bytes" in self._amount(fit.bytes) for fit in self.fits):
            lines["budget"] += f" ({self.budget.bytes:,} bytes)"
        if self.budget.platform is not None:
            lines["on the GPU"] = self._both(lambda fit: fit.bytes)
            lines["tensors"] = f"{self._how} {self._both(lambda fit: fit.peak_bytes)}"
            lines["tensors alone"] = f"batch {_number(self.by_tensors)} would fit"
        else:
            lines[self._how.split()[-1]] = self._both(lambda fit: fit.peak_bytes)
        if self.confirmed is not None:
            says = "agrees" if self.confirmed else "DIFFERS"
            lines["trace"] = f"{says}: {self._both(lambda fit: fit.traced_bytes or 0)}"
        conditions = {
            "workload": pairs(self.workload),
            "spec": pairs(self.spec),
            "versions": pairs(self.versions),
            "convention": self.convention,
        }
        return (title, Facts(lines | conditions, conditions))

    @property
    def convention(self) -> str:
        """Sentence on the bytes that have to fit."""
        if self.budget.platform is None:
            return PREDICTED.format(self._how)
        platform = self.budget.platform
        return (
            "what has to fit is what PyTorch's allocator reserves, cuBLAS workspaces among it, and "
            f"the CUDA context ({platform.gpu.context_source}), with the kernels of torch "
            f"{spell(platform.torch)}; memory of the GPU: {platform.gpu.memory_source}"
        )

    @property
    def _how(self) -> str:
        return "by a trace" if "module" in self.spec else "by formula"

    def _both(self, size: Callable[[Fit], int]) -> str:
        said = []
        for fit in self.fits:
            verb = "would take" if fit is self.next else "takes"
            said.append(f"{fit.batch:,} {verb} {self._amount(size(fit))}")
        return ", ".join(said)

    def _amount(self, size: int) -> str:
        """A size in words; to the byte if it reads like the budget."""
        words = str(Bytes(size))
        return f"{size:,} bytes" if words == str(Bytes(self.budget.bytes)) else words

    def records(self) -> Records:
        """Return one row per batch: the largest that fits, and the next."""
        columns = ("batch", "fits", "peak_bytes", "traced_bytes", "agrees", "gpu_bytes")
        return Records(
            columns,
            tuple(
                (
                    *(fit.batch, fit is not self.next, fit.peak_bytes, fit.traced_bytes),
                    *(fit.agrees, None if fit.gpu is None else fit.gpu.total),
                )
                for fit in self.fits
            ),
        )

    def data(self) -> dict[str, object]:
        """Return the whole report; memory is in bytes."""
        return {
            "spec": {name: plain(value) for name, value in self.spec.items()},
            "workload": {name: plain(value) for name, value in self.workload.items()},
            "versions": dict(self.versions),
            "convention": self.convention,
            **budget_record(self.budget),
            "predicted": self.batch or 0,
            "capped": self.capped,
            "limit": self.limit,
            "by_tensors": self.by_tensors,
            "confirmed": self.confirmed,
            "largest": self.largest and self.largest.record(),
            "next": self.next and self.next.record(),
        }
