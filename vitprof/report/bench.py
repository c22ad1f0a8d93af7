"""MeasuredModel speeds of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from vitprof.measuring.timing import MatrixProduct, Timing
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
from vitprof.values.amounts import Bytes, Figure, Seconds, Share, figure
from vitprof.values.options import Value, pairs, plain

FORWARD, TRAINING = "forward", "training step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast one model makes one kind of step.

    Attributes:
        timing: seconds of a step.
        images: in a step.
        macs: multiply-accumulates of a step by the formula; None where it has none.
        first: median seconds of the step of the first model.
        peak: multiply-accumulates in a second of a matrix product.
        peak_bytes: what the step allocates at most; None where that cannot be measured.
    """

    timing: Timing
    images: int
    macs: int | None
    first: float
    peak: float
    peak_bytes: int | None

    @property
    def images_per_second(self) -> float:
        """Images in a second, at the median."""
        return self.images / self.timing.median

    @property
    def ratio(self) -> float:
        """The median over that of the first model."""
        return self.timing.median / self.first

    @property
    def macs_per_second(self) -> float | None:
        """Multiply-accumulates in a second, at the median."""
        return None if self.macs is None else self.macs / self.timing.median

    @property
    def share(self) -> float | None:
        """Multiply-accumulates in a second over those of a matrix product."""
        return None if self.macs_per_second is None else self.macs_per_second / self.peak

    def record(self) -> dict[str, float | int | None]:
        """All of it by name, in seconds, bytes and counts; None is what there is not."""
        lower, median, upper = self.timing.quartiles
        return {
            "median_seconds": median,
            "lower_quartile_seconds": lower,
            "upper_quartile_seconds": upper,
            "spread": self.timing.spread,
            "samples": len(self.timing.samples),
            "ratio": self.ratio,
            "images_per_second": self.images_per_second,
            "macs_per_second": self.macs_per_second,
            "share_of_peak": self.share,
            "peak_bytes": self.peak_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredModel:
    """One model.

    Attributes:
        name: what it is called by: its mixer, its preset, or the name that it was given.
        spec: model, mixer, and every size.
        params: parameters.
        macs: multiply-accumulates of a forward pass of the batch.
        peak_bytes: what a training step holds at most, by formula.
        largest: the largest batch that trains within the budget, by formula; None without one.
        speeds: of `forward` and `training step`.
    """

    name: str
    spec: Mapping[str, Value]
    params: int
    macs: int
    peak_bytes: int
    largest: int | None
    speeds: Mapping[str, Speed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark(Report):
    """Models measured in turn.

    Attributes:
        model: the model's name; of several kinds, all their names.
        workload: batch, dtype, optimizer and what else a step depends on.
        conditions: device, threads and what else the times depend on.
        versions: of every package that had a part in it.
        protocol: how it was measured, in a sentence.
        bound: the spread that was to be reached.
        peak: the matrix product that the speeds are compared with.
        budget_bytes: the memory that the largest batch is predicted for; None without one.
        mixers: one a model, the first being what the others are compared with.
        unavailable: why something is not measured.
    """

    command = "bench"
    model: str
    workload: Mapping[str, Value]
    conditions: Mapping[str, str]
    versions: Mapping[str, str]
    protocol: str
    bound: float
    peak: MatrixProduct
    budget_bytes: int | None
    mixers: tuple[MeasuredModel, ...]
    unavailable: Mapping[str, str]

    @property
    def unsettled(self) -> dict[str, float]:
        """The spreads that are larger than they were to be, by what was measured."""
        return {
            f"{measured.name}, {phase}": speed.timing.spread
            for measured in self.mixers
            for phase, speed in measured.speeds.items()
            if speed.timing.spread > self.bound
        }

    def document(self) -> Document:
        device, batch = self.conditions["device"], self.workload["batch"]
        title = Heading(f"Speed of {self.model}, batch {batch}, on {device}")
        columns = [Column("", part=EVERY, key=True)]
        columns += [Column(measured.name, Kind.NUMBER) for measured in self.mixers]
        return (title, Table(tuple(columns), tuple(self._rows())), Facts(self._facts()))

    def _rows(self) -> Iterator[Row]:
        mixers = self.mixers
        yield Row(("params", *(measured.params for measured in mixers)))
        yield Row(("forward MACs", *(measured.macs for measured in mixers)))
        sizes = (Bytes(measured.peak_bytes) for measured in mixers)
        yield Row(("training memory, predicted", *sizes))
        if self.budget_bytes is not None:
            batches = (measured.largest or 0 for measured in mixers)
            yield Row((f"largest batch in {Bytes(self.budget_bytes)}", *batches))
        for phase in mixers[0].speeds:
            yield Row((phase, *(None for _ in mixers)), strong=True)
            columns = [self._cells(measured.speeds[phase]) for measured in mixers]
            for name in columns[0]:
                label = Label(name, f"{phase}, {name}", 1)
                yield Row((label, *(cells[name] for cells in columns)))

    def _cells(self, speed: Speed) -> dict[str, Cell]:
        lower, median, upper = speed.timing.quartiles
        cells: dict[str, Cell] = {
            "median": Seconds(median),
            "lower quartile": Seconds(lower),
            "upper quartile": Seconds(upper),
            "images/s": Figure(speed.images_per_second),
        }
        if len(self.mixers) > 1:
            cells[f"over {self.mixers[0].name}"] = f"{speed.ratio:.2f}"
        if speed.macs_per_second is not None and speed.share is not None:
            cells["GMAC/s"] = Figure(speed.macs_per_second / 1e9)
            cells["of matrix product"] = Share(speed.share)
        cells["peak memory"] = "n/a" if speed.peak_bytes is None else Bytes(speed.peak_bytes)
        return cells

    def _facts(self) -> dict[str, str]:
        """What the times depend on."""
        side, peak = self.peak.side, self.peak.macs_per_second / 1e9
        facts = {
            "matrix product": f"{figure(peak)} GMAC/s, of {side:,} × {side:,} matrices in "
            f"{self.workload['dtype']}, measured in the same run"
        }
        facts |= {f"{name}, n/a": reason for name, reason in self.unavailable.items()}
        if self.unsettled:
            facts["unsettled"] = "interquartile range over median: " + "; ".join(
                f"{name} {spread:.0%}" for name, spread in self.unsettled.items()
            )
        return facts | {
            **self._specs(),
            "workload": pairs(self.workload),
            "conditions": pairs(self.conditions),
            "versions": pairs(self.versions),
            "protocol": self.protocol,
        }

    def _specs(self) -> dict[str, str]:
        """What all the models have in common, and what each has of its own."""
        specs = [measured.spec.items() for measured in self.mixers]
        shared = {name: value for name, value in specs[0] if all((name, value) in s for s in specs)}
        own = {
            one.name: {
                name: value
                for name, value in one.spec.items()
                if name not in shared and (name, value) != ("mixer", one.name)
            }
            for one in self.mixers
        }
        return {"spec": pairs(shared), **{name: pairs(spec) for name, spec in own.items() if spec}}

    def records(self) -> Records:
        """A row a model and kind of step."""
        rows = [
            {
                "name": measured.name,
                "model": plain(measured.spec["model"]),
                "mixer": plain(measured.spec["mixer"]),
                "step": phase,
                **{name: plain(value) for name, value in self.workload.items()},
                "params": measured.params,
                "macs": measured.macs,
                "predicted_peak_bytes": measured.peak_bytes,
                "predicted_largest_batch": measured.largest,
                **speed.record(),
            }
            for measured in self.mixers
            for phase, speed in measured.speeds.items()
        ]
        return Records(tuple(rows[0]), tuple(tuple(row.values()) for row in rows))

    def data(self) -> dict[str, object]:
        return {
            "model": self.model,
            "workload": {name: plain(value) for name, value in self.workload.items()},
            "conditions": dict(self.conditions),
            "versions": dict(self.versions),
            "protocol": self.protocol,
            "settled": not self.unsettled,
            "unsettled": self.unsettled,
            "matrix_product": {**asdict(self.peak), "macs_per_second": self.peak.macs_per_second},
            "budget_bytes": self.budget_bytes,
            "mixers": [
                {
                    "name": measured.name,
                    "mixer": plain(measured.spec["mixer"]),
                    "spec": {name: plain(value) for name, value in measured.spec.items()},
                    "params": measured.params,
                    "macs": measured.macs,
                    "predicted_peak_bytes": measured.peak_bytes,
                    "predicted_largest_batch": measured.largest,
                    **{
                        phase.replace(" ", "_"): speed.record()
                        for phase, speed in measured.speeds.items()
                    },
                }
                for measured in self.mixers
            ],
            "unavailable": dict(self.unavailable),
        }
