"""The table of GPUs, or one of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from vitprof.cuda.gpus import Gpu
from vitprof.cuda.speed import speed_of
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
    Sentence,
    Table,
)
from vitprof.values.amounts import Bytes, Figure

_DTYPES = ("fp32", "tf32", "fp16", "bf16", "fp8")
_CONVENTION = (
    "peaks are dense products in TFLOP/s, two for each multiply-accumulate, by the data sheet; "
    "memory is what a driver shows a process"
)


@dataclass(frozen=True, kw_only=True)
class Gpus(Report):
    """Every GPU, in the order of the table."""

    command = "gpus"
    gpus: tuple[Gpu, ...]

    def document(self) -> Document:
        columns = (
            Column("GPU", part=EVERY, key=True),
            Column("name to type"),
            Column("memory", Kind.NUMBER),
            Column("capability", Kind.NUMBER),
            Column("multiprocessors", Kind.NUMBER),
            Column("GB/s", Kind.NUMBER),
            *(Column(dtype, Kind.NUMBER) for dtype in ("fp32", "bf16")),
        )
        rows = []
        for gpu in self.gpus:
            own: tuple[Cell, ...] = (gpu.name, min(gpu.names, key=len), Bytes(gpu.memory_bytes))
            capability = ".".join(map(str, gpu.capability))
            peaks = (_figure(gpu.peaks.get(dtype)) for dtype in ("fp32", "bf16"))
            facts = (capability, gpu.multiprocessors, Figure(gpu.bandwidth))
            rows.append(Row((*own, *facts, *peaks)))
        return (Table(columns, tuple(rows)), Sentence(_CONVENTION, faint=True))

    def records(self) -> Records:
        columns = (
            *("name", "names", "architecture", "capability", "memory_gib", "memory_bytes"),
            *("context_bytes", "multiprocessors", "threads", "bandwidth_gb_s"),
            *(f"{dtype}_tflops" for dtype in _DTYPES),
            "sure",
        )
        return Records(
            columns,
            tuple(
                (
                    *(gpu.name, ", ".join(gpu.names), gpu.architecture),
                    *(".".join(map(str, gpu.capability)), float(gpu.memory), gpu.memory_bytes),
                    *(gpu.context, gpu.multiprocessors, gpu.threads, float(gpu.bandwidth)),
                    *(_float(gpu.peaks.get(dtype)) for dtype in _DTYPES),
                    gpu.sure,
                )
                for gpu in self.gpus
            ),
        )

    def data(self) -> dict[str, object]:
        return {"gpus": [_record(gpu) for gpu in self.gpus]}


@dataclass(frozen=True, kw_only=True)
class GpuDetails(Report):
    """Facts of one GPU, each with its source."""

    command = "gpus"
    gpu: Gpu

    def document(self) -> Document:
        gpu = self.gpu
        peaks = ", ".join(f"{dtype} {peak:g}" for dtype, peak in gpu.peaks.items())
        measured = ", ".join(f"{dtype} {peak:g}" for dtype, peak in gpu.measured_peaks.items())
        lines = {
            "names": ", ".join(gpu.names),
            "memory": f"{Bytes(gpu.memory_bytes)} of {gpu.memory:g} GiB ({gpu.memory_source})",
            "context": f"{Bytes(gpu.context_bytes)} ({gpu.context_source})",
            "capability": ".".join(map(str, gpu.capability)),
            "multiprocessors": f"{gpu.multiprocessors} of {gpu.threads:,} threads",
            "bandwidth": f"{gpu.bandwidth:,g} GB/s",
            "peaks": f"{peaks} TFLOP/s, dense",
        }
        if measured:
            lines["measured"] = f"{measured} TFLOP/s"
        lines |= {"sources": "; ".join(dict.fromkeys(gpu.sources)), "sure": gpu.sure}
        speed = Facts(speed_of(gpu, "fp32").sentences)
        return (
            *(Heading(gpu.name, gpu.architecture), Facts(lines)),
            *(Heading("Speed of steps", level=2), speed),
        )

    def records(self) -> Records:
        return Gpus(gpus=(self.gpu,)).records()

    def data(self) -> dict[str, object]:
        return {"gpu": _record(self.gpu), "speed": asdict(speed_of(self.gpu, "fp32"))}


def _record(gpu: Gpu) -> dict[str, object]:
    sources = {"memory_source": gpu.memory_source, "context_source": gpu.context_source}
    return {**asdict(gpu), "memory_bytes": gpu.memory_bytes, **sources}


def _figure(number: float | None) -> Cell:
    return None if number is None else Figure(number)


def _float(number: float | None) -> float | None:
    return None if number is None else float(number)
