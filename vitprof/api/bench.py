"""Measure how fast models run and train, those with different mixers in turn."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from vitprof.allocation.largest_batch import largest_batch
from vitprof.allocation.step import peak_bytes
from vitprof.errors import VitprofError
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.formulas.totals import totals
from vitprof.measuring.timing import MatrixProduct, Protocol, Timing, fastest_product, take_turns
from vitprof.progress import Say, quiet
from vitprof.report.bench import FORWARD, TRAINING, Benchmark, MeasuredModel, Speed
from vitprof.request.gpus import read_budget
from vitprof.request.side_by_side import lay_out
from vitprof.request.workload import Workload, take_workload
from vitprof.version import versions

if TYPE_CHECKING:
    import torch

    from vitprof.running.step import Step

_NO_MEMORY = "PyTorch keeps no peak of what it allocates on the CPU"


class BenchError(VitprofError):
    """A step that cannot be run here."""


def bench(
    model: str | None = None,
    workload: Workload | None = None,
    *,
    mixer: str | None = None,
    mixers: Iterable[str] | None = None,
    presets: Iterable[str] | None = None,
    models: Mapping[str, Model] | None = None,
    memory: str | None = None,
    gpu: str | None = None,
    device: str = "cpu",
    compiled: bool = False,
    protocol: Protocol | None = None,
    say: Say = quiet,
    **options: object,
) -> Benchmark:
    """Measure the forward pass and the training step of models, in turn.

    Args:
        model: a name that `vitprof models` lists.
        workload: how they are trained; the forward pass is its inference. Made from the
            options if it is not given.
        mixer: of the model, or of all presets.
        mixers: names of several; the ratios are to the first.
        presets: names of published configurations, in place of `model` and `mixers`.
        models: whole models by name, in place of names and options.
        memory: predict the largest batch that trains within so much, such as `24GiB`.
        gpu: the same for a named GPU, such as `h100`.
        device: device that the models are on: `cpu`, `cuda` or `cuda:1`.
        compiled: let `torch.compile` compile the modules.
        protocol: how long is measured.
        say: told what is being done.
        **options: the workload's, the model's and the mixers' options, `batch=10`, `dim=192`;
            a mixer takes those that it has.

    Raises:
        SpecError: there is no such model, mixer, option, GPU or device, or a value is wrong.
        BenchError: a step cannot be run, for want of memory or of a kernel.
    """
    workload = take_workload(workload, options)
    budget = read_budget(memory, gpu)
    chosen = lay_out(model, mixer, mixers, presets, models, options)
    say("starting PyTorch")
    import torch
    from torch.utils.benchmark.utils.common import set_torch_threads

    from vitprof.running.device import find_device
    from vitprof.running.step import DTYPES

    place = find_device(device)
    workload = replace(workload, device=place.type)
    protocol = protocol or Protocol()
    protocol = replace(protocol, threads=protocol.threads or torch.get_num_threads())
    steps: dict[str, Step] = {}
    allocated: dict[str, int | None] = {}
    with set_torch_threads(protocol.threads):
        peak = fastest_product(place, DTYPES[workload.dtype], protocol, say=say)
        inference = replace(workload, inference=True, checkpoint=False)
        for phase, own in ((FORWARD, inference), (TRAINING, workload)):
            for label, one in chosen.items():
                name = _name(label, phase)
                say(f"warming up: {name}")
                with _explained(name, workload, device):
                    steps[name], allocated[name] = _prepared(one, own, place, compiled=compiled)
        with _explained("one of them", workload, device):
            timings = take_turns(steps, protocol, say=say)
    names = dict.fromkeys(one.name for one in chosen.values())
    return Benchmark(
        model=" and ".join(names),
        workload={name: value for name, value in workload.values().items() if name != "inference"},
        conditions=conditions(place, protocol, compiled=compiled),
        versions=versions(["torch"]),
        protocol=str(protocol),
        bound=float(protocol.spread),
        peak=peak,
        budget_bytes=budget,
        mixers=_measured(chosen, workload, timings, allocated, peak, budget),
        unavailable={} if place.type == "cuda" else {"memory": _NO_MEMORY},
    )


def time_steps(
    models: Mapping[str, Model],
    workload: Workload,
    protocol: Protocol,
    *,
    device: str,
    say: Say = quiet,
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Measure the step of `workload`, training or inference, of models in turn.

    Args:
        models: what is measured, by name.
        workload: how they are trained or run.
        protocol: how long is measured.
        device: `cpu`, `cuda` or `cuda:1`.
        say: told what is being done.

    Returns:
        The seconds of a step by the models' names, and the conditions that they depend on.

    Raises:
        SpecError: there is no such device.
        BenchError: a step cannot be run, for want of memory or of a kernel.
    """
    import torch
    from torch.utils.benchmark.utils.common import set_torch_threads

    from vitprof.running.device import find_device

    place = find_device(device)
    workload = replace(workload, device=place.type)
    protocol = replace(protocol, threads=protocol.threads or torch.get_num_threads())
    steps: dict[str, Step] = {}
    with set_torch_threads(protocol.threads):
        for name, model in models.items():
            say(f"warming up: {name}")
            with _explained(name, workload, device):
                steps[name], _ = _prepared(model, workload, place)
        with _explained("one of them", workload, device):
            timings = take_turns(steps, protocol, say=say)
    return timings, conditions(place, protocol)


def _name(label: str, phase: str) -> str:
    return f"{label}, {phase}"


def _prepared(
    model: Model, workload: Workload, device: torch.device, *, compiled: bool = False
) -> tuple[Step, int | None]:
    """A step that has been made twice, and the bytes that it took at most.

    The second step has the optimizer's states, which the first one makes.
    """
    import torch

    from vitprof.running.step import Step

    gc.collect()
    on_gpu = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if on_gpu else 0
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
    """Say in a sentence what PyTorch raises where it lacks memory, a kernel or a compiler."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BenchError(
            f"{what} cannot be run at batch {workload.batch} in {workload.dtype} on {device}: "
            f"{first}"
        ) from error


def _measured(
    models: Mapping[str, Model],
    workload: Workload,
    timings: Mapping[str, Timing],
    allocated: Mapping[str, int | None],
    peak: MatrixProduct,
    budget: int | None,
) -> tuple[MeasuredModel, ...]:
    first, *_ = models

    def speed(label: str, macs: int, phase: str) -> Speed:
        return Speed(
            timing=timings[_name(label, phase)],
            images=workload.batch,
            macs=macs if phase == FORWARD else None,
            first=timings[_name(first, phase)].median,
            peak=peak.macs_per_second,
            peak_bytes=allocated[_name(label, phase)],
        )

    measured = []
    for label, model in models.items():
        macs = model.formula(workload.batch).total(Measure.MACS)
        measured.append(
            MeasuredModel(
                name=label,
                spec=model.conditions(),
                params=totals(model.formula(), Measure.PARAMS)["all"],
                macs=macs,
                peak_bytes=peak_bytes(model, workload),
                largest=None if budget is None else largest_batch(model, workload, budget),
                speeds={phase: speed(label, macs, phase) for phase in (FORWARD, TRAINING)},
            )
        )
    return tuple(measured)


def conditions(
    device: torch.device, protocol: Protocol, *, compiled: bool = False
) -> dict[str, str]:
    """What else times depend on: the device, its threads and how they compute."""
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
