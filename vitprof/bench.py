"""Measure how fast models run and train, those with different mixers in turn."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from vitprof.allocation.largest_batch import largest_batch
from vitprof.allocation.step import peak_bytes
from vitprof.counters.read import Say
from vitprof.errors import VitprofError
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.formulas.totals import totals
from vitprof.profile import quiet
from vitprof.report.bench import FORWARD, TRAINING, Benchmark, Measured, Speed
from vitprof.timing import Peak, Protocol, Timing, matrix_peak, take_turns
from vitprof.version import versions
from vitprof.workload import Workload

if TYPE_CHECKING:
    import torch

    from vitprof.modules.step import Step

_NO_MEMORY = "PyTorch keeps no peak of what it allocates on the CPU"


class BenchError(VitprofError):
    """A step that cannot be run here."""


def bench(
    models: Sequence[Model],
    workload: Workload,
    protocol: Protocol,
    *,
    device: str,
    compiled: bool,
    memory_bytes: int | None = None,
    say: Say,
) -> Benchmark:
    """Measure the forward pass and the training step of models that differ in their mixer.

    Args:
        models: what is measured; the ratios are to the first.
        workload: how they are trained; the forward pass is its inference.
        protocol: how long is measured.
        device: `cpu`, `cuda` or `cuda:1`.
        compiled: let `torch.compile` compile the modules.
        memory_bytes: predict the largest batch that trains within so much.
        say: told what is being done.

    Raises:
        SpecError: there is no such device.
        BenchError: a step cannot be run, for want of memory or of a kernel.
    """
    import torch
    from torch.utils.benchmark.utils.common import set_torch_threads

    from vitprof.modules.device import find_device
    from vitprof.modules.step import DTYPES

    place = find_device(device)
    workload = replace(workload, device=place.type)
    protocol = replace(protocol, threads=protocol.threads or torch.get_num_threads())
    steps: dict[str, Step] = {}
    memory: dict[str, int | None] = {}
    with set_torch_threads(protocol.threads):
        peak = matrix_peak(place, DTYPES[workload.dtype], protocol, say=say)
        inference = replace(workload, inference=True, checkpoint=False)
        for phase, own in ((FORWARD, inference), (TRAINING, workload)):
            for model in models:
                name = _name(model, phase)
                say(f"warming up: {name}")
                with _explained(name, workload, device):
                    steps[name], memory[name] = _prepared(model, own, place, compiled=compiled)
        with _explained("one of them", workload, device):
            timings = take_turns(steps, protocol, say=say)
    return Benchmark(
        model=models[0].name,
        workload={name: value for name, value in workload.values().items() if name != "inference"},
        conditions=conditions(place, protocol, compiled=compiled),
        versions=versions(["torch"]),
        protocol=str(protocol),
        bound=float(protocol.spread),
        peak=peak,
        budget_bytes=memory_bytes,
        mixers=_measured(models, workload, timings, memory, peak, memory_bytes),
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

    from vitprof.modules.device import find_device

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


def _name(model: Model, phase: str) -> str:
    return f"{model.variant}, {phase}"


def _prepared(
    model: Model, workload: Workload, device: torch.device, *, compiled: bool = False
) -> tuple[Step, int | None]:
    """A step that has been made twice, and the bytes that it took at most.

    The second step has the optimizer's states, which the first one makes.
    """
    import torch

    from vitprof.modules.step import Step

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
    models: Sequence[Model],
    workload: Workload,
    timings: dict[str, Timing],
    memory: dict[str, int | None],
    peak: Peak,
    budget: int | None,
) -> tuple[Measured, ...]:
    return tuple(
        Measured(
            mixer=model.variant,
            spec=model.conditions(),
            params=totals(model.formula(), Measure.PARAMS)["all"],
            macs=model.formula(workload.batch).total(Measure.MACS),
            peak_bytes=peak_bytes(model, workload),
            largest=None if budget is None else largest_batch(model, workload, budget),
            speeds={
                phase: Speed(
                    timing=timings[_name(model, phase)],
                    images=workload.batch,
                    macs=model.formula(workload.batch).total(Measure.MACS)
                    if phase == FORWARD
                    else None,
                    first=timings[_name(models[0], phase)].median,
                    peak=peak.macs_per_second,
                    peak_bytes=memory[_name(model, phase)],
                )
                for phase in (FORWARD, TRAINING)
            },
        )
        for model in models
    )


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
