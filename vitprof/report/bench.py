"""Measured speeds, as plain data and in each format."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import StringIO
from typing import TYPE_CHECKING

from vitprof.options import Value, plain
from vitprof.report.bench_to_table import bench_to_table
from vitprof.report.to_json import SCHEMA
from vitprof.timing import Peak, Timing

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

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
class Measured:
    """One model.

    Attributes:
        mixer: its token mixer.
        spec: model, mixer, and every size.
        params: parameters.
        macs: multiply-accumulates of a forward pass of the batch.
        peak_bytes: what a training step holds at most, by formula.
        largest: the largest batch that trains within the budget, by formula; None without one.
        speeds: of `forward` and `training step`.
    """

    mixer: str
    spec: Mapping[str, Value]
    params: int
    macs: int
    peak_bytes: int
    largest: int | None
    speeds: Mapping[str, Speed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Models that differ in their mixer, measured in turn.

    Attributes:
        model: the model's name.
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

    model: str
    workload: Mapping[str, Value]
    conditions: Mapping[str, str]
    versions: Mapping[str, str]
    protocol: str
    bound: float
    peak: Peak
    budget_bytes: int | None
    mixers: tuple[Measured, ...]
    unavailable: Mapping[str, str]

    @property
    def unsettled(self) -> dict[str, float]:
        """The spreads that are larger than they were to be, by what was measured."""
        return {
            f"{measured.mixer}, {phase}": speed.timing.spread
            for measured in self.mixers
            for phase, speed in measured.speeds.items()
            if speed.timing.spread > self.bound
        }

    def to_json(self) -> str:
        """The measurements for other programs."""
        document = {
            "schema": SCHEMA,
            "command": "bench",
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
                    "mixer": measured.mixer,
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
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def to_csv(self) -> str:
        """A row a model and kind of step; an empty cell is what there is not."""
        rows = [
            {
                "model": self.model,
                "mixer": measured.mixer,
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
        text = StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from bench_to_table(self)
