"""Every report of the project: of small models, and what is measured made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from io import StringIO
from typing import Any

from cases import for_each
from rich.console import Console

import vitprof
from vitprof.expectations.expectations import Outcome
from vitprof.measuring.search import Search, Stopped, Trial
from vitprof.measuring.timing import MatrixProduct, Timing
from vitprof.measuring.trials import Device
from vitprof.report.base import Report
from vitprof.report.batch_size import TriedBatch
from vitprof.report.bench import Benchmark, MeasuredModel, Speed
from vitprof.report.catalogue import LibraryModel, LibraryModels
from vitprof.report.check import CaseResult, Check
from vitprof.report.counts import Counts
from vitprof.report.document import Document, Table
from vitprof.request.budget import Budget

SMALL: dict[str, dict[str, Any]] = {
    "mae": {"image_size": 24, "patch_size": 4, "channels": 3, "dim": 24, "depth": 3, "heads": 3}
    | {"decoder_dim": 20, "decoder_depth": 2, "decoder_heads": 5, "mask_ratio": "0.3"},
    "pyramid": {"image_size": 24, "depths": (2, 3), "widths": (12, 20), "stage_heads": (3, 5)}
    | {"classes": 7},
    "classifier": {"dim": 33, "depth": 3, "heads": 3, "mlp_ratio": "2.7"},
    "layer": {"tokens": 7, "dim": 15, "heads": 3},
}
MEASURES: dict[str, Callable[..., Counts]] = {"params": vitprof.params, "macs": vitprof.macs}


@cache
def profile(command: str, model: str, mixer: str, fold: bool) -> Counts:
    return MEASURES[command](model, mixer=mixer, fold=fold, **SMALL[model])


def printed(report: Report, width: int) -> str:
    text = StringIO()
    Console(file=text, width=width, color_system=None).print(report)
    return text.getvalue()


def tried() -> TriedBatch:
    failed = Trial(batch=512, fits=False, reason="CUDA out of memory: tried <1 GiB> & failed")
    trials = (
        failed,
        Trial(batch=256, fits=True, peak_bytes=3 * 2**30, seconds=0.25),
        Trial(batch=384, fits=False, peak_bytes=5 * 2**30, seconds=0.5, reason="over the budget"),
    )
    return TriedBatch(
        spec={"model": "layer", "mixer": "attn"},
        workload={"dtype": "fp32"},
        device=Device(type="cuda", name="A GPU", memory_bytes=4 * 2**30),
        versions={"vitprof": "0"},
        convention="a peak is what is held at once",
        search=Search(
            strategy="bisect",
            start=512,
            most=65_536,
            budget_bytes=4 * 2**30,
            trials=trials,
            stopped=Stopped.INTERRUPTED,
        ),
    )


def benchmark() -> Benchmark:
    def speed(*samples: float, macs: int | None) -> Speed:
        timing = Timing(samples)
        return Speed(
            timing=timing, images=8, macs=macs, first=0.01, peak=1e12, peak_bytes=900 * 2**20
        )

    return Benchmark(
        model="classifier",
        workload={"batch": 8, "dtype": "fp32"},
        conditions={"device": "x86_64 with AVX2", "threads": "1"},
        versions={"vitprof": "0"},
        protocol="in turns",
        bound=0.05,
        peak=MatrixProduct(side=512, seconds=0.001),
        budget=Budget(bytes=24 * 2**30),
        models=tuple(
            MeasuredModel(
                name=mixer,
                spec={"model": "classifier", "mixer": mixer, "dim": 64},
                params=1_234_567 * times,
                macs=9_876_543_210 * times,
                peak_bytes=3 * 2**30 * times,
                largest=4_096 // times,
                speeds={
                    "forward": speed(0.01, 0.011, 0.02, macs=9_876_543_210 * times),
                    "training step": speed(1.5, 1.6, 1.7, macs=None),
                },
            )
            for mixer, times in (("attn", 1), ("token-linear", 2))
        ),
        unavailable={"memory": "PyTorch keeps no peak on the CPU"},
    )


def checked() -> Check:
    def outcome(what: str, relation: str, expected: int | str, found: int | str) -> Outcome:
        holds = expected == found
        formula = "" if isinstance(found, str) else "D × (D + 1) = 64 × (64 + 1)"
        return Outcome(
            what=what,
            relation=relation,
            expected=expected,
            found=found,
            formula=formula,
            holds=holds,
        )

    cases = (
        CaseResult(
            file="expected|sizes.toml",
            name="the <b>R&D</b> model_1",
            line=1,
            outcomes=(
                outcome("params blocks.0.mixer.fc_out", "=", 4_160, 4_160),
                outcome("macs blocks.0-11", "<=", 1_234_567_890, 1_334_567_890),
            ),
        ),
        CaseResult(
            file="expected|sizes.toml",
            name="another",
            line=9,
            outcomes=(outcome("macs fvcore reconciled", "=", "explained", "+1 UNEXPLAINED"),),
        ),
    )
    return Check(cases=cases)


def listed() -> LibraryModels:
    return LibraryModels(
        pattern="timm:*[_]|b",
        library="timm 1.0",
        models=(
            LibraryModel(reference="timm:vit_<b>", input="3x224x224"),
            LibraryModel(reference="timm:a_b|b", input=None),
        ),
    )


TWO: dict[str, Any] = {"dim": 33, "depth": 2, "heads": 3, "image_size": 8, "patch_size": 4}
REPORTS: dict[str, Callable[[], Report]] = {
    "params": lambda: profile("params", "mae", "lambda", True),
    "macs": lambda: profile("macs", "classifier", "lambda", False),
    "macs-why": lambda: vitprof.macs("layer", why=True, **SMALL["layer"]),
    "why": lambda: profile("macs", "classifier", "lambda", True).why(),
    "brief": lambda: profile("macs", "layer", "attn", True).brief(),
    "in-units": lambda: profile("macs", "mae", "attn", True).in_units("M"),
    "by-type": lambda: vitprof.params("mae", by="type", mixer="lambda", **SMALL["mae"]),
    "by-kind": lambda: vitprof.macs("classifier", by="kind", mixer="lambda", **TWO),
    "columns": lambda: vitprof.macs(
        *("classifier",), columns=["layer", "input", "output-numbers", "share"], **TWO
    ),
    "match": lambda: vitprof.match(preset="deit-ti", mixer="lambda", vary="dim=96:288"),
    "explain": lambda: vitprof.explain("mae", mixer="lambda", batch=2, **SMALL["mae"]),
    "explain-layer": lambda: vitprof.explain(
        "classifier", layer="blocks.0.mixer", counters=["analytic"], **TWO
    ),
    "memory": lambda: vitprof.memory("classifier", batch=9_999, fold=True, trace=False, **TWO),
    "memory-gpu": lambda: vitprof.memory(
        "classifier", batch=9_999, gpu="1080ti", fold=True, trace=False, **TWO
    ),
    "memory-lacks": lambda: vitprof.memory(
        "classifier", batch=9_999, memory="1GiB", fold=True, trace=False, **TWO
    ),
    "memory-dtypes": lambda: vitprof.memory(
        "layer", dtype=["fp32", "bf16-autocast"], gpu="rtx3090", trace=False, **SMALL["layer"]
    ),
    "memory-trace": lambda: vitprof.memory("layer", batch=1_000, **SMALL["layer"]),
    "batch-size": lambda: vitprof.batch_size(memory="1GiB", trace=False, **SMALL["mae"]),
    "batch-size-gpu": lambda: vitprof.batch_size(gpu="rtx3090", trace=False, **SMALL["mae"]),
    "batch-size-capped": lambda: vitprof.batch_size(
        gpu="rtx3090", max_batch=1_234, trace=False, **SMALL["mae"]
    ),
    "batch-size-tried": tried,
    "bench": benchmark,
    "compare": lambda: vitprof.compare(
        *("classifier",), mixers=["attn", "lambda"], layers=True, memory="8GiB", up_to=16, **TWO
    ),
    "sweep": lambda: replace(
        vitprof.sweep(
            *("layer",),
            mixers=["attn", "linear"],
            measures=("params", "macs", "memory"),
            tokens=(64, 128),
            dim=(32, 50),  # which 4 heads do not divide
        ),
        charts=True,
    ),
    "check": checked,
    "presets": vitprof.presets,
    "preset": lambda: vitprof.presets("deit-s"),
    "mixers": vitprof.mixers,
    "mixer": lambda: vitprof.mixers("lambda", counters=["torch"]),
    "models": vitprof.models,
    "model": lambda: vitprof.models("classifier"),
    "library-models": listed,
    "time": lambda: vitprof.time("classifier", gpu="h100", batch=9_999, dtype="bf16", **TWO),
    "time-waiting": lambda: vitprof.time("layer", gpu="a100-40", fold=True, **SMALL["layer"]),
    "gpus": vitprof.gpus,
    "gpu": lambda: vitprof.gpus("rtx3090"),
}
every_report = for_each("name", REPORTS)


@cache
def report_of(name: str) -> Report:
    return REPORTS[name]()


@cache
def document_of(name: str) -> tuple[Document, list[Table]]:
    document = report_of(name).document()
    return document, [element for element in document if isinstance(element, Table)]
