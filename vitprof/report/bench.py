"""Report of the measured speed of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from vitprof.measuring.timing import Copy, MatrixProduct, Timing
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
from vitprof.report.unsettled import spreads
from vitprof.request.budget import Budget, budget_record
from vitprof.values.amounts import Bytes, Change, Figure, Seconds, Share, figure
from vitprof.values.options import Plain, Value, pairs, plain

FORWARD, TRAINING = "forward", "training step"
_TORCH = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # names of dtypes


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Speed of one model in one kind of step.

    Attributes:
        timing: measured seconds of a step.
        images: images per step.
        macs: MACs of a step by formula, without what is recomputed; None if they are not known.
        recomputed: MACs of a step that are recomputed; None if they are not known.
        sheet: MACs per second of the GPU's data sheet; None if it is not known.
        first: median seconds of the same step of the first model.
        peak: MACs per second of the fastest matrix product.
        peak_bytes: measured peak memory of the step; None on the CPU.
        predicted: predicted seconds of a step; None if the device is no GPU of the table.
    """

    timing: Timing
    images: int
    macs: int | None
    first: float
    peak: float
    peak_bytes: int | None
    recomputed: int | None = None
    sheet: float | None = None
    predicted: float | None = None

    @property
    def error(self) -> float | None:
        """Relative error of the predicted time; positive if it is too long."""
        return None if self.predicted is None else self.predicted / self.timing.median - 1

    @property
    def images_per_second(self) -> float:
        """Images per second, at the median time."""
        return self.images / self.timing.median

    @property
    def ratio(self) -> float:
        """Median time relative to the first model."""
        return self.timing.median / self.first

    @property
    def macs_per_second(self) -> float | None:
        """MACs per second without recomputation, at the median time; None if not known."""
        return None if self.macs is None else self.macs / self.timing.median

    @property
    def share(self) -> float | None:
        """MACs per second relative to the matrix product; None if not known."""
        return None if self.macs_per_second is None else self.macs_per_second / self.peak

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilisation: MACs per second without recomputation, over the data sheet's.

        Chowdhery et al. 2022, PaLM, section 4.1. None if one of them is not known.
        """
        if self.macs_per_second is None or self.sheet is None:
            return None
        return self.macs_per_second / self.sheet

    @property
    def hfu(self) -> float | None:
        """Hardware FLOPs utilisation: the same with recomputation; None if not known."""
        if self.macs is None or self.recomputed is None or self.sheet is None:
            return None
        return (self.macs + self.recomputed) / self.timing.median / self.sheet

    def record(self) -> dict[str, float | int | None]:
        """Return all figures by name, in seconds, bytes and MACs; None if not available."""
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
            "mfu": self.mfu,
            "hfu": self.hfu,
            "peak_bytes": self.peak_bytes,
            "predicted_seconds": self.predicted,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredModel:
    """One measured model.

    Attributes:
        name: its mixer, its preset, or the name given to it.
        spec: model, mixer, and every size.
        params: number of parameters.
        macs: MACs of a forward pass of the batch.
        training_macs: MACs of forward and backward pass of the batch without recomputation; None
            if they are not known.
        recomputed_macs: MACs that the backward pass recomputes; None if they are not known.
        peak_bytes: peak memory of a training step, by formula.
        largest: largest training batch within the budget, by formula; None without a budget.
        speeds: speed by kind of step, `forward` and `training step`.
    """

    name: str
    spec: Mapping[str, Value]
    params: int
    macs: int
    peak_bytes: int
    largest: int | None
    speeds: Mapping[str, Speed]
    training_macs: int | None = None
    recomputed_macs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSheet:
    """Peak of a GPU's data sheet.

    Attributes:
        gpu: full name of the GPU.
        dtype: dtype of the products, `tf32` for fp32 of less precision.
        tflops: TFLOP/s of dense products, two for each multiply-accumulate.
    """

    gpu: str
    dtype: str
    tflops: float

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates per second."""
        return self.tflops * 1e12 / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark(Report):
    """Models measured in turns.

    Attributes:
        model: name of the model; several names joined by `and`.
        workload: batch, dtype, optimizer and other settings of the step.
        conditions: device, threads and other conditions of the times.
        versions: version of every package involved, by name.
        protocol: sentence on how it was measured.
        bound: spread to reach, the interquartile range over the median.
        peak: fastest matrix product, which the speeds are compared with.
        budget: memory, or GPU, of the largest batch; None without one.
        models: measured ones; the first is the baseline.
        unavailable: reasons for missing measurements, by name.
        sheet: peak of the GPU that MFU and HFU are of; None if it is not known.
        copy: fastest copy; None if no time is predicted.
    """

    command = "bench"
    model: str
    workload: Mapping[str, Value]
    conditions: Mapping[str, str]
    versions: Mapping[str, str]
    protocol: str
    bound: float
    peak: MatrixProduct
    budget: Budget | None
    models: tuple[MeasuredModel, ...]
    unavailable: Mapping[str, str]
    sheet: DataSheet | None = None
    copy: Copy | None = None

    @property
    def unsettled(self) -> dict[str, float]:
        """Spreads above `bound`, by model and kind of step."""
        return {
            f"{measured.name}, {phase}": speed.timing.spread
            for measured in self.models
            for phase, speed in measured.speeds.items()
            if speed.timing.spread > self.bound
        }

    def document(self) -> Document:
        device, batch = self.conditions["device"], self.workload["batch"]
        title = Heading(f"Speed of {self.model}, batch {batch}, on {device}")
        columns = [Column("", part=EVERY, key=True)]
        columns += [Column(measured.name, Kind.NUMBER) for measured in self.models]
        return (title, Table(tuple(columns), tuple(self._rows())), self._facts())

    def _rows(self) -> Iterator[Row]:
        mixers = self.models
        yield Row(("params", *(measured.params for measured in mixers)))
        yield Row(("forward MACs", *(measured.macs for measured in mixers)))
        training = [measured.training_macs for measured in mixers]
        yield Row(("training MACs", *("n/a" if macs is None else macs for macs in training)))
        recomputed = [measured.recomputed_macs for measured in mixers]
        if any(recomputed):
            yield Row(("recomputed MACs", *("n/a" if one is None else one for one in recomputed)))
        sizes = (Bytes(measured.peak_bytes) for measured in mixers)
        yield Row(("training memory, predicted", *sizes))
        if self.budget is not None:
            batches = (measured.largest or 0 for measured in mixers)
            yield Row((f"largest batch {self.budget.title}", *batches))
        for phase in mixers[0].speeds:
            yield Row((phase, *(None for _ in mixers)), strong=True)
            columns = [self._cells(phase, measured.speeds[phase]) for measured in mixers]
            for name in columns[0]:
                label = Label(name, f"{phase}, {name}", 1)
                yield Row((label, *(cells[name] for cells in columns)))

    def _cells(self, phase: str, speed: Speed) -> dict[str, Cell]:
        lower, median, upper = speed.timing.quartiles
        cells: dict[str, Cell] = {
            "median": Seconds(median),
            "lower quartile": Seconds(lower),
            "upper quartile": Seconds(upper),
            "images/s": Figure(speed.images_per_second),
        }
        if speed.predicted is not None and speed.error is not None:
            cells |= {"predicted": Seconds(speed.predicted), "error": Change(speed.error)}
        if len(self.models) > 1:
            cells[f"over {self.models[0].name}"] = f"{speed.ratio:.2f}"
        rate = speed.macs_per_second
        cells["GMAC/s"] = "n/a" if rate is None else Figure(rate / 1e9)
        cells["of matrix product"] = _share(speed.share)
        if phase == TRAINING:
            cells |= {"MFU": _share(speed.mfu), "HFU": _share(speed.hfu)}
        cells["peak memory"] = "n/a" if speed.peak_bytes is None else Bytes(speed.peak_bytes)
        return cells

    def _facts(self) -> Facts:
        """Return the conditions of the times, as named lines."""
        side, peak = self.peak.side, self.peak.macs_per_second / 1e9
        facts = {
            "matrix product": f"{figure(peak)} GMAC/s, of {side:,} × {side:,} matrices in "
            f"{self.workload['dtype']}, measured in the same run"
        }
        if self.copy is not None:
            facts["predicted"] = (
                f"from this product and a copy of {self.copy.mib:,} MiB at "
                f"{figure(self.copy.bytes_per_second / 1e9)} GB/s, with the shares and the host of "
                "an H100, as vitprof time does"
            )
        if self.sheet is not None:
            facts["MFU, HFU"] = (
                f"of {self.sheet.tflops:g} TFLOP/s in {self.sheet.dtype}, the data sheet's of "
                f"{self.sheet.gpu}, two FLOPs for each MAC; HFU counts recomputed MACs, too"
            )
        facts |= {f"{name}, n/a": reason for name, reason in self.unavailable.items()}
        if self.unsettled:
            facts["unsettled"] = spreads(self.unsettled)
        conditions = {
            **self._specs(),
            "workload": pairs(self.workload),
            "conditions": pairs(self.conditions),
            "versions": pairs(self.versions),
            "protocol": self.protocol,
        }
        return Facts(facts | conditions, conditions)

    def _specs(self) -> dict[str, str]:
        """Return the options that all models share, and those of each model that differ."""
        specs = [measured.spec.items() for measured in self.models]
        shared = {name: value for name, value in specs[0] if all((name, value) in s for s in specs)}
        own = {
            one.name: {
                name: value
                for name, value in one.spec.items()
                if name not in shared and (name, value) != ("mixer", one.name)
            }
            for one in self.models
        }
        return {"spec": pairs(shared), **{name: pairs(spec) for name, spec in own.items() if spec}}

    @property
    def measurements(self) -> list[dict[str, object]]:
        """Measured times as rows: the product, the copy, and the steps of each model, in ms."""
        product: dict[str, object] = {
            **{"kind": "gemm", "dtype": _TORCH[str(self.workload["dtype"])], "n": self.peak.side},
            **{"ms": 1e3 * self.peak.seconds, "gmac_s": self.peak.macs_per_second / 1e9},
        }
        rows: list[dict[str, object]] = [product]
        if self.copy is not None:
            rate = self.copy.bytes_per_second / 1e9
            own = {"mib": self.copy.mib, "ms": 1e3 * self.copy.seconds, "gb_s": rate}
            rows.append({"kind": "copy", **own})
        for one in self.models:
            times = {
                f"{'forward' if phase == FORWARD else 'train'}_ms": _milliseconds(speed.timing)
                for phase, speed in one.speeds.items()
            }
            words = {"spec": _words(one.spec), "workload": _words(self.workload)}
            rows.append({"kind": "step", **words, **times})
        return rows

    def records(self) -> Records:
        """Return one row per model and kind of step."""
        rows = [
            {
                "name": measured.name,
                "model": _named(measured.spec, "model", "module"),
                "mixer": _named(measured.spec, "mixer"),
                "step": phase,
                **{name: plain(value) for name, value in self.workload.items()},
                "params": measured.params,
                "macs": measured.macs,
                "training_macs": measured.training_macs,
                "recomputed_macs": measured.recomputed_macs,
                "predicted_peak_bytes": measured.peak_bytes,
                "predicted_largest_batch": measured.largest,
                **speed.record(),
            }
            for measured in self.models
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
            "data_sheet": None if self.sheet is None else asdict(self.sheet),
            **budget_record(self.budget),
            "models": [
                {
                    "name": measured.name,
                    "mixer": _named(measured.spec, "mixer"),
                    "spec": {name: plain(value) for name, value in measured.spec.items()},
                    "params": measured.params,
                    "macs": measured.macs,
                    "training_macs": measured.training_macs,
                    "recomputed_macs": measured.recomputed_macs,
                    "predicted_peak_bytes": measured.peak_bytes,
                    "predicted_largest_batch": measured.largest,
                    **{
                        phase.replace(" ", "_"): speed.record()
                        for phase, speed in measured.speeds.items()
                    },
                }
                for measured in self.models
            ],
            "measurements": self.measurements,
            "unavailable": dict(self.unavailable),
        }


def _share(of: float | None) -> Cell:
    return "n/a" if of is None else Share(of)


def _milliseconds(timing: Timing) -> list[float]:
    """Return median, lower and upper quartile."""
    lower, median, upper = timing.quartiles
    return [1e3 * seconds for seconds in (median, lower, upper)]


def _words(options: Mapping[str, Value]) -> str:
    """Return options as words of the command line; those that are off are left out."""
    words = []
    for name, value in options.items():
        if value is not False and value != "":
            words.append(f"--{name.replace('_', '-')}")
            words += [] if value is True else [str(plain(value))]
    return " ".join(words)


def _named(spec: Mapping[str, Value], *names: str) -> Plain | None:
    """Return the first of the named options that a model or a module has; None if none."""
    return next((plain(spec[name]) for name in names if name in spec), None)
