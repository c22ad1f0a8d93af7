"""Steps that were measured on an H100, and their predictions: `tests/data/h100`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import isclose
from pathlib import Path
from statistics import median
from typing import Any

from vitprof.allocation.launches import Launch
from vitprof.allocation.on_gpu import OnGpu, on_gpu
from vitprof.allocation.roofline import StepTime, step_time
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.cuda.speed import MEASURED, Found
from vitprof.formulas.model import Model
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.sweeps.time import batches

DATA = Path(__file__).parents[1] / "data" / "h100"
H100 = Platform(gpu=find_gpu("h100"), torch=(2, 11))

# Rows that were measured with another module: nystrom took 32 landmarks of 196 tokens by adaptive
# pooling, and now they have to divide the tokens. With that module the predictions were within
# 0.28 % too. In inference the peak is in the MLP, so it is the same.
EARLIER = ("cls nystrom fp32", "cls nystrom amp", "cls nystrom ckpt", "cls nystrom bf16")

_WORKSPACE = 32 * 2**20
_CLASSIFIER = (
    "--model classifier --image-size 224 --channels 3 --patch-size 16 --dim 384 --heads 6 "
    "--depth 2 --classes 1000 --activation gelu"
)
# The models of peaks.jsonl as words of the command line, by label: model, workload.
PEAKS = {
    "attn fp32": (f"{_CLASSIFIER} --mixer attn", "--batch 32"),
    "attn amp": (f"{_CLASSIFIER} --mixer attn", "--batch 32 --dtype bf16 --autocast"),
    "attn bf16": (f"{_CLASSIFIER} --mixer attn", "--batch 32 --dtype bf16"),
    "attn mean fp32": (f"{_CLASSIFIER} --mixer attn --pool mean", "--batch 32"),
    "attn mean bf16": (f"{_CLASSIFIER} --mixer attn --pool mean", "--batch 32 --dtype bf16"),
    "fused fp32": (f"{_CLASSIFIER} --mixer attn --fused", "--batch 32"),
    "fused bf16": (f"{_CLASSIFIER} --mixer attn --fused", "--batch 32 --dtype bf16"),
    "seed attn": ("--model mae --mixer attn --depth 2 --decoder-depth 2", "--batch 2"),
    "lambda amp": (f"{_CLASSIFIER} --mixer lambda", "--batch 32 --dtype bf16 --autocast"),
    "convmixer": ("--preset convmixer-768-32 --depth 3", "--batch 16"),
    "gmlp fp32": (f"{_CLASSIFIER} --mixer gmlp --pool mean", "--batch 32"),
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """Measured step, without the memory that it would not hold in a process of its own.

    Attributes:
        label: name of the row.
        model: model that was trained or run.
        workload: batch, dtypes, optimizer and the like.
        allocated: `max_memory_allocated` of each phase.
        reserved: `max_memory_reserved`.
    """

    label: str
    model: Model
    workload: Workload
    allocated: dict[str, int]
    reserved: int

    @property
    def peak(self) -> int:
        """Most bytes that were allocated in the step."""
        return max(self.allocated.values())

    def error(self) -> float:
        """Return the relative error of the predicted peak; positive if it is too high."""
        return predicted(self.label).peak / self.peak - 1

    def error_of_reserved(self) -> float:
        """Return the relative error of the predicted reserved bytes; positive if too high."""
        return predicted(self.label).reserved / self.reserved - 1


def read(name: str) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines."""
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def built(spec: str, workload: str) -> tuple[Model, Workload]:
    """Return a model and a workload from words of the command line."""
    options = _options(spec)
    model, mixer = options.pop("model", None), options.pop("mixer", None)
    return specify(model, mixer=mixer, options=options), Workload(**_options(workload))


@cache
def steps() -> dict[str, Step]:
    """Return every row of steps.jsonl by its label."""
    return {row["label"]: _step(row) for row in read("steps.jsonl")}


def comparable() -> list[Step]:
    """Return the steps whose peaks equal those of the models that were measured."""
    return [step for label, step in steps().items() if label not in EARLIER]


def shown() -> list[Step]:
    """Return the steps whose models equal those that were measured: without nystrom's."""
    return [step for step in comparable() if step.model.mixer.name != "nystrom"]


@cache
def predicted(label: str) -> OnGpu:
    """Return the prediction for the step of this label."""
    step = steps()[label]
    return on_gpu(step.model, step.workload, H100)


def _step(row: dict[str, Any]) -> Step:
    model, workload = built(row["spec"], row["workload"])
    left = row["allocated_before"] - 2 * _WORKSPACE + (_WORKSPACE if workload.inference else 0)
    return Step(
        label=row["label"],
        model=model,
        workload=workload,
        allocated={phase: held - left for phase, held in row["max_memory_allocated"].items()},
        reserved=row["max_memory_reserved"] - left,
    )


def _options(words: str) -> dict[str, Any]:
    """Return options by field name: the word after a name is its value, unless it is a name."""
    options: dict[str, Any] = {}
    name = ""
    for word in shlex.split(words):
        if word.startswith("--"):
            name = word.removeprefix("--").replace("-", "_")
            options[name] = True
        else:
            options[name] = word
    return options


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedStep:
    """Measured time of a step, in seconds.

    Attributes:
        label: name of the row.
        group: rows of the same group differ in their mixer alone; empty for rows without others.
        mixer: the mixer, and whether attention is fused.
        workload: batch, dtypes, optimizer and the like.
        seconds: median of the measured times.
        predicted: predicted time.
        launches: launches of kernels by phase, and what else the host calls.
    """

    label: str
    group: str
    mixer: str
    workload: Workload
    seconds: float
    predicted: StepTime
    launches: Mapping[str, Sequence[Launch]]

    @property
    def error(self) -> float:
        """Relative error of the prediction; positive if it is too long."""
        return self.predicted.seconds / self.seconds - 1

    @property
    def functions(self) -> tuple[object, ...]:
        """Settings, and functions by phase and path, on which the time of the host depends."""
        called = [(phase, one.at, one.kind) for phase, own in self.launches.items() for one in own]
        return self.workload.inference, self.workload.checkpoint, *called


_SHORT = 0.005  # seconds; shorter steps of models are not compared
# Steps from which the share of depthwise convolutions follows, so that their errors say nothing.
GAUGES = ("convmixer-768-32 fp32", "convmixer-768-32 amp")


@cache
def timed() -> tuple[TimedStep, ...]:
    """Return every step of times.jsonl, and those of steps.jsonl above 5 ms, with predictions."""
    found = []
    for row in read("times.jsonl"):
        if row["kind"] == "layer":
            model, workload = built(row["spec"], row["workload"])
            tokens = row["spec"].split("--tokens ")[1].split()[0]
            for phase, own in (("forward", workload.as_inference()), ("train", workload)):
                group = f"{tokens} {row['workload'].strip()} {phase}"
                seconds = row[f"{phase}_ms"][0] / 1e3
                found.append(_timed(f"{row['spec']} {group}", group, model, own, seconds))
    for row in read("steps.jsonl"):
        label, seconds = row["label"], row["step_ms"] / 1e3
        if label not in (*EARLIER, *GAUGES) and seconds > _SHORT:
            model, workload = built(row["spec"], row["workload"])
            found.append(_timed(label, _group(label), model, workload, seconds))
    return tuple(found)


def gauges() -> list[TimedStep]:
    """Return the steps that the share of depthwise convolutions follows from."""
    rows = {row["label"]: row for row in read("steps.jsonl")}
    return [
        _timed(label, "", *built(row["spec"], row["workload"]), row["step_ms"] / 1e3)
        for label, row in ((label, rows[label]) for label in GAUGES)
    ]


def _group(label: str) -> str:
    """Return what a row of steps.jsonl shares with others that differ in their mixer alone."""
    kind, *words = label.split()
    if kind == "cls" and words[0] != "opt":
        return f"cls {words[1]}"
    return f"seed {words[0]} {words[1]}" if kind == "seed" else ""


def _timed(label: str, group: str, model: Model, workload: Workload, seconds: float) -> TimedStep:
    fused = " fused" if getattr(model.mixer, "fused", False) else ""
    some = batches(model, workload, H100)
    ((_, launches),) = some
    return TimedStep(
        label=label,
        group=group,
        mixer=f"{model.mixer.name}{fused}",
        workload=workload,
        seconds=seconds,
        predicted=step_time(some, workload, MEASURED),
        launches=launches,
    )


def pairs(some: Iterable[TimedStep]) -> list[tuple[TimedStep, TimedStep]]:
    """Return the pairs of a group whose mixers' times differ by over 10 %, the faster one first."""
    found = []
    for one, other in combinations(some, 2):
        faster, slower = sorted((one, other), key=lambda step: step.seconds)
        if one.group and one.group == other.group and slower.seconds > 1.1 * faster.seconds:
            found.append((faster, slower))
    return found


def summary(some: Sequence[TimedStep]) -> Found:
    """Return the errors of the predictions of some steps, and how many pairs are in order."""
    errors = sorted(abs(step.error) for step in some)
    ordered = pairs(some)
    long = [pair for pair in ordered if min(step.seconds for step in pair) > _SHORT]
    return Found(
        steps=len(errors),
        median=round(median(errors), 3),
        nine_in_ten=round(errors[int(0.9 * len(errors))], 3),
        worst=round(errors[-1], 3),
        pairs=len(ordered),
        in_order=_in_order(ordered),
        pairs_long=len(long),
        in_order_long=_in_order(long),
    )


_FREE = 3 / 4  # share of a measured time; a GPU that works for less of it waits for the host


@cache
def repeats() -> list[list[TimedStep]]:
    """Return steps whose hosts call the same functions, and that wait for the host, together.

    They differ in their tokens, or in fp32 against 16 bits without autocast.
    """
    alike: dict[object, list[TimedStep]] = {}
    for step in timed():
        if step.predicted.whole.device < _FREE * step.seconds:
            alike.setdefault(step.functions, []).append(step)
    return [some for some in alike.values() if len(some) > 1]


def by_repeats(step: TimedStep) -> float:
    """Return the median of the other steps whose hosts call the same functions, in seconds."""
    (some,) = [some for some in repeats() if step in some]
    return median(other.seconds for other in some if other is not step)


def _in_order(some: Iterable[tuple[TimedStep, TimedStep]]) -> int:
    return sum(is_in_order(*pair) for pair in some)


def is_in_order(faster: TimedStep, slower: TimedStep) -> bool:
    """Return True if the prediction has the order; hosts that do as much are in none."""
    seconds = faster.predicted.seconds, slower.predicted.seconds
    return seconds[0] < seconds[1] and not isclose(*seconds)


def _is_layer(step: TimedStep) -> bool:
    return step.label.startswith("--model layer")


# Sets of the steps that docs/time.md tells apart.
SETS: dict[str, Callable[[TimedStep], bool]] = {
    "all": lambda step: True,
    "above 5 ms": lambda step: step.seconds > _SHORT,
    "one layer, forward": lambda step: _is_layer(step) and step.workload.inference,
    "one layer, training": lambda step: _is_layer(step) and not step.workload.inference,
    "models in fp32": lambda step: not _is_layer(step) and step.workload.dtype == "fp32",
    "models in 16 bits": lambda step: not _is_layer(step) and step.workload.dtype != "fp32",
    "models with checkpointing": lambda step: not _is_layer(step) and step.workload.checkpoint,
    "with lambda layers": lambda step: "lambda" in step.mixer,
    "bound by the GPU": lambda step: not step.predicted.waits_for_host,
    "bound by the host": lambda step: step.predicted.waits_for_host,
}
