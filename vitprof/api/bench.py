"""`vitprof.bench`: measure the speed of models, and predict their memory beside it."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.speed import calibrated
from vitprof.errors import SpecError, VitprofError
from vitprof.exclusive import exclusive
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.op import Pass
from vitprof.formulas.totals import totals
from vitprof.measuring.timing import (
    MatrixProduct,
    Protocol,
    Timing,
    fastest_copy,
    fastest_product,
    take_turns,
)
from vitprof.progress import Say, quiet
from vitprof.report.bench import FORWARD, TRAINING, Benchmark, DataSheet, MeasuredModel, Speed
from vitprof.request.budget import Budget, platform_of, read_budget
from vitprof.request.side_by_side import lay_out
from vitprof.request.workload import Workload, take_workload
from vitprof.subject import Configurable
from vitprof.sweeps import memory as step_memory
from vitprof.sweeps.time import on_gpu
from vitprof.version import versions

if TYPE_CHECKING:
    import torch

    from vitprof.cuda.platform import Platform
    from vitprof.cuda.speed import Speed as GpuSpeed
    from vitprof.running.step import Step

_COMPILED = "torch.compile chooses what it recomputes"
_NO_KERNELS = "it is that of the kernels of a GPU"
_NO_MEMORY = "PyTorch keeps no peak of what it allocates on the CPU"


class BenchError(VitprofError):
    """A step failed to run on the device: out of memory, or a missing kernel or compiler."""


def bench(
    model: str | None = None,
    workload: Workload | None = None,
    *,
    mixer: str | type[Mixer] | None = None,
    mixers: Iterable[str | type[Mixer]] | None = None,
    presets: Iterable[str] | None = None,
    modules: Iterable[str] | None = None,
    models: Mapping[str, Configurable] | None = None,
    memory: str | None = None,
    gpu: str | None = None,
    torch: str | None = None,
    device: str = "cpu",
    compiled: bool = False,
    protocol: Protocol | None = None,
    say: Say = quiet,
    **options: object,
) -> Benchmark:
    """Measure the forward pass and the training step of models, which take turns.

    Args:
        model: a name that `vitprof models` lists.
        workload: settings of the training step; the forward pass is measured with the same
            settings as inference. None to make it from `options`.
        mixer: mixer of the model, or of all presets.
        mixers: names of the mixers to compare; ratios are relative to the first.
        presets: names of published configurations, instead of `model` and `mixers`.
        modules: references of modules, such as `timm:deit_small_patch16_224`, instead of models.
        models: models by name, instead of names and options.
        memory: memory budget for which the largest training batch is predicted, such as
            `24GiB`.
        gpu: GPU that the batch has to fit with all that a GPU adds, such as `h100`.
        torch: version of PyTorch on that GPU, such as `2.11`; None for the newest known.
        device: device of the models: `cpu`, `cuda` or `cuda:1`.
        compiled: compile the modules with `torch.compile`.
        protocol: limits of the measurement.
        say: called with a message on the current progress.
        **options: options of the workload, the model and the mixers, such as `batch=10` or
            `dim=192`; a mixer takes those that it declares.

    Raises:
        SpecError: a model, mixer, option, GPU or device is unknown, or a value is invalid.
        BenchError: a step failed to run: out of memory, or a missing kernel or compiler.
    """
    workload = take_workload(workload, options)
    budget = read_budget(memory, gpu, torch)
    chosen = lay_out(model, mixer, mixers, presets, modules, models, options)
    counted = _training(chosen, workload, compiled=compiled)
    say("starting PyTorch")
    from torch import get_num_threads
    from torch.utils.benchmark.utils.common import set_torch_threads

    from vitprof.running.device import find_device
    from vitprof.running.step import DTYPES

    place = find_device(device)
    workload = replace(workload, device=place.type)
    protocol = protocol or Protocol()
    protocol = replace(protocol, threads=protocol.threads or get_num_threads())
    sheet, why = _sheet(place, workload)
    steps: dict[str, Step] = {}
    allocated: dict[str, int | None] = {}
    with exclusive(), set_torch_threads(protocol.threads):
        peak = fastest_product(place, DTYPES[workload.dtype], protocol, say=say)
        platform, unpredicted = _platform(place)
        copy = None if platform is None else fastest_copy(place, protocol, say=say)
        inference = workload.as_inference()
        for phase, own in ((FORWARD, inference), (TRAINING, workload)):
            for label, one in chosen.items():
                name = _name(label, phase)
                say(f"warming up: {name}")
                with _explained(name, workload, device):
                    steps[name], allocated[name] = _prepared(one, own, place, compiled=compiled)
        with _explained("one of them", workload, device):
            timings = take_turns(steps, protocol, say=say)
    names = dict.fromkeys(one.name for one in chosen.values())
    predicted: dict[str, float] = {}
    if platform is not None and copy is not None:
        speed = calibrated(
            platform.gpu, workload.dtype, peak.macs_per_second, copy.bytes_per_second
        )
        predicted = predict(chosen, workload, platform, speed)
    return Benchmark(
        model=" and ".join(names),
        workload={name: value for name, value in workload.values().items() if name != "inference"},
        conditions=conditions(place, protocol, compiled=compiled),
        versions=versions(["torch"]),
        protocol=str(protocol),
        bound=float(protocol.spread),
        peak=peak,
        copy=copy,
        budget=budget,
        models=_measured(
            *(chosen, workload, counted, timings, allocated, peak, sheet, budget), predicted
        ),
        sheet=sheet,
        unavailable={
            **({} if place.type == "cuda" else {"memory": _NO_MEMORY}),
            **({"predicted time": unpredicted} if unpredicted else {}),
            **({"MFU and HFU": why} if why else {}),
            **({"HFU": _COMPILED} if compiled and not why else {}),
            **{
                f"training MACs of {label}": one
                for label, one in counted.items()
                if isinstance(one, str)
            },
        },
    )


def _training(
    models: Mapping[str, Configurable], workload: Workload, *, compiled: bool
) -> dict[str, _Step | str]:
    """Return the MACs of a training step of each model, or why they are not known."""
    from vitprof.allocation.training import training

    found: dict[str, _Step | str] = {}
    for label, model in models.items():
        try:
            tree = training(model, workload.batch, checkpoint=workload.checkpoint)
        except SpecError as error:
            found[label] = str(error)
            continue
        recomputed = tree.total(Pass.RECOMPUTED)
        found[label] = _Step(
            macs=tree.total(Measure.TRAINING) - recomputed,
            recomputed=None if compiled else recomputed,
        )
    return found


def _sheet(device: torch.device, workload: Workload) -> tuple[DataSheet | None, str]:
    """Return the data sheet's peak for the products of a step, or why it is not known."""
    import torch

    if device.type != "cuda":
        return None, "the table of vitprof gpus has the peaks of GPUs, and none of a CPU"
    name = torch.cuda.get_device_name(device)
    try:
        gpu = find_gpu(name)
    except SpecError:
        return None, f"the table of vitprof gpus has no {name}"
    dtype = workload.dtype
    if dtype == "fp32" and torch.get_float32_matmul_precision() != "highest":
        dtype = "tf32"
    if dtype not in gpu.peaks:
        return None, f"the data sheet of {gpu.name} has no peak of products in {dtype}"
    return DataSheet(gpu=gpu.name, dtype=dtype, tflops=gpu.peaks[dtype]), ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """MACs of a forward and a backward pass.

    Attributes:
        macs: those without recomputation.
        recomputed: those that are recomputed; None if it is not known what is.
    """

    macs: int
    recomputed: int | None


def time_steps(
    models: Mapping[str, Configurable],
    workload: Workload,
    protocol: Protocol,
    *,
    device: str,
    say: Say = quiet,
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Measure the step of `workload`, training or inference, of models that take turns.

    Args:
        models: models to measure, by name.
        workload: settings of the step; its device type becomes that of `device`.
        protocol: limits of the measurement.
        device: `cpu`, `cuda` or `cuda:1`.
        say: called with a message on the current progress.

    Returns:
        Seconds of a step by model name, and the conditions that they depend on.

    Raises:
        SpecError: the device is unknown.
        BenchError: a step failed to run: out of memory, or a missing kernel.
    """
    import torch
    from torch.utils.benchmark.utils.common import set_torch_threads

    from vitprof.running.device import find_device

    place = find_device(device)
    workload = replace(workload, device=place.type)
    protocol = replace(protocol, threads=protocol.threads or torch.get_num_threads())
    steps: dict[str, Step] = {}
    with exclusive(), set_torch_threads(protocol.threads):
        for name, model in models.items():
            say(f"warming up: {name}")
            with _explained(name, workload, device):
                steps[name], _ = _prepared(model, workload, place)
        with _explained("one of them", workload, device):
            timings = take_turns(steps, protocol, say=say)
    return timings, conditions(place, protocol)


def _platform(place: torch.device) -> tuple[Platform | None, str]:
    """Return the GPU of a device with its version of PyTorch, or why no time is predicted."""
    import torch

    if place.type != "cuda":
        return None, _NO_KERNELS
    name = torch.cuda.get_device_name(place)
    found = platform_of(name)
    if found is None:
        return None, f"the table of GPUs has no {name}; vitprof gpus lists them"
    major, minor = torch.__version__.split(".")[:2]
    version = min((int(major), int(minor)), found.torch)
    return replace(found, torch=version), ""


def predict(
    models: Mapping[str, Configurable], workload: Workload, platform: Platform, speed: GpuSpeed
) -> dict[str, float]:
    """Return the predicted seconds of the forward pass and the training step of models, by name."""
    return {
        _name(label, phase): on_gpu(model, own, platform, speed).seconds
        for phase, own in ((FORWARD, workload.as_inference()), (TRAINING, workload))
        for label, model in models.items()
    }


def _name(label: str, phase: str) -> str:
    return f"{label}, {phase}"


def _prepared(
    model: Configurable, workload: Workload, device: torch.device, *, compiled: bool = False
) -> tuple[Step, int | None]:
    """Return a step that has run twice, and its peak memory on a GPU, in bytes.

    The peak is that of the second run, since the first one creates the optimizer's states.
    """
    import torch

    from vitprof.running.step import Step

    on_gpu = device.type == "cuda"
    before = 0
    if on_gpu:
        gc.collect()  # otherwise what an earlier step left is freed during this one
        before = torch.cuda.memory_allocated(device)
    step = Step(model, workload, device=str(device))
    if compiled:
        step.module.compile()
    step()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    step()
    return step, torch.cuda.max_memory_allocated(device) - before if on_gpu else None


@contextmanager
def _explained(what: str, workload: Workload, device: str) -> Iterator[None]:
    """Turn an error of PyTorch, or of a module's own code, into a BenchError of one sentence."""
    try:
        yield
    except VitprofError:
        raise
    except (Exception, SystemExit) as error:
        first = next(iter(str(error).strip().splitlines()), "")
        if not first or not isinstance(error, (RuntimeError, ValueError)):
            first = f"{type(error).__name__}: {first}".removesuffix(": ")
        raise BenchError(
            f"{what} cannot be run at batch {workload.batch} in {workload.dtype} on {device}: "
            f"{first}"
        ) from error


def _measured(
    models: Mapping[str, Configurable],
    workload: Workload,
    counted: Mapping[str, _Step | str],
    timings: Mapping[str, Timing],
    allocated: Mapping[str, int | None],
    peak: MatrixProduct,
    sheet: DataSheet | None,
    budget: Budget | None,
    predicted: Mapping[str, float],
) -> tuple[MeasuredModel, ...]:
    first, *_ = models

    def speed(label: str, of: _Step | None, phase: str) -> Speed:
        times = workload.accumulate if phase == TRAINING else 1
        return Speed(
            timing=timings[_name(label, phase)],
            images=workload.batch * times,
            macs=None if of is None else times * of.macs,
            recomputed=None if of is None or of.recomputed is None else times * of.recomputed,
            sheet=None if sheet is None else sheet.macs_per_second,
            first=timings[_name(first, phase)].median,
            peak=peak.macs_per_second,
            peak_bytes=allocated[_name(label, phase)],
            predicted=predicted.get(_name(label, phase)),
        )

    measured = []
    for label, model in models.items():
        macs = model.formula(workload.batch).total(Measure.MACS)
        step = counted[label]
        training_step = step if isinstance(step, _Step) else None
        steps = {FORWARD: _Step(macs=macs, recomputed=0), TRAINING: training_step}
        measured.append(
            MeasuredModel(
                name=label,
                spec=model.conditions(),
                params=totals(model.tree(Measure.PARAMS), Measure.PARAMS)["all"],
                macs=macs,
                peak_bytes=step_memory.peak(model, workload),
                largest=None if budget is None else step_memory.largest(model, workload, budget),
                speeds={phase: speed(label, of, phase) for phase, of in steps.items()},
                training_macs=None if training_step is None else training_step.macs,
                recomputed_macs=None if training_step is None else training_step.recomputed,
            )
        )
    return tuple(measured)


def conditions(
    device: torch.device, protocol: Protocol, *, compiled: bool = False
) -> dict[str, str]:
    """Return what times depend on besides the workload: device, threads, compiler, precision."""
    import torch

    on_gpu = device.type == "cuda"
    capability = torch.backends.cpu.get_cpu_capability()
    cpu = f"{platform.machine()} with {capability}, {os.cpu_count()} cores"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else cpu,
        "threads": str(protocol.threads),
        "compiled": "yes" if compiled else "no",
        "float32 products": torch.get_float32_matmul_precision(),
    }
