"""Search by trial for the largest batch that fits a device."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vitprof.errors import SpecError, unknown
from vitprof.measuring.search import MAX_BATCH, START, STRATEGIES, Trial, search
from vitprof.measuring.trials import Device, Trials, probe
from vitprof.report.batch_size import TriedBatch
from vitprof.values.amounts import Bytes
from vitprof.version import versions

if TYPE_CHECKING:
    from vitprof.progress import Say
    from vitprof.request.workload import Workload
    from vitprof.subject import Configurable
    from vitprof.values.options import Value

DEVICES = ("cpu", "cuda")
TIMEOUT = 600  # seconds

_CONVENTIONS = {
    "cpu": (
        "the peak is the most that PyTorch's CPU allocator held at once over two steps; "
        "a batch fits if that is within the budget"
    ),
    "cuda": (
        "the peak is the most that PyTorch's allocator had reserved over two steps, the CUDA "
        "context not in it; a batch fits if that is within the budget"
    ),
}


def search_by_trial(
    model: Configurable,
    workload: Workload,
    *,
    device: str,
    strategy: str | None = None,
    start: int | None = None,
    limit_bytes: int | None = None,
    max_batch: int = MAX_BATCH,
    timeout: float = TIMEOUT,
    predicted: Callable[[Device, int], int] | None = None,
    say: Say,
    tell: Callable[[Trial], None],
) -> TriedBatch:
    """Search by trial for the largest batch that fits.

    Args:
        model: model to run.
        workload: settings of the step; its batch is ignored.
        device: `cpu` or `cuda`.
        strategy: `bisect` or `predict`; None for `predict` if `predicted` is given.
        start: first batch; None for 512 with `bisect` and for the prediction with `predict`.
        limit_bytes: memory budget; None for the free memory of the GPU.
        max_batch: largest batch to try.
        timeout: time limit of a trial, in seconds.
        predicted: predicts the largest batch from the device and the budget in bytes.
        say: called with a message on the current progress.
        tell: called with each trial when it ends.

    Returns:
        The result, also if the search was interrupted or a trial timed out.

    Raises:
        SpecError: the device or strategy is unknown, the CPU has no limit, or there is no
            usable GPU.
        TrialError: a trial failed for a reason other than memory.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if strategy is None:
        strategy = "bisect" if predicted is None else "predict"
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    if strategy == "predict" and start is None and predicted is None:
        raise SpecError("there is no prediction to start from; give start, or use bisect")
    say(f"looking for the device {device}")
    found = _cpu(limit_bytes) if device == "cpu" else _gpu(limit_bytes, timeout)
    budget = found.memory_bytes if limit_bytes is None else limit_bytes
    if start is None:
        start = predicted(found, budget) if strategy == "predict" and predicted else START
    trials = Trials(
        model=model,
        workload=workload,
        device=device,
        budget_bytes=budget,
        limited=limit_bytes is not None,
        timeout=timeout,
    )

    def try_batch(batch: int) -> Trial:
        say(f"trying batch {batch}")
        return trials(batch)

    return TriedBatch(
        spec=model.conditions(),
        workload=_without_batch(workload.values()),
        device=found,
        versions=versions(["torch"]),
        convention=_CONVENTIONS[device],
        search=search(
            try_batch,
            strategy=strategy,
            start=start,
            most=max_batch,
            budget_bytes=budget,
            tell=tell,
        ),
    )


def _cpu(limit_bytes: int | None) -> Device:
    if limit_bytes is None:
        raise SpecError("the device cpu needs a memory limit; give --limit, such as 4GiB")
    return Device(type="cpu", name=platform.machine(), memory_bytes=limit_bytes)


def _gpu(limit_bytes: int | None, timeout: float) -> Device:
    gpu = probe("cuda", timeout=timeout)
    if not gpu.memory_bytes:
        raise SpecError(
            "PyTorch finds no usable CUDA device here; give --device cpu with --limit, such as "
            "4GiB, or predict by --gpu or --memory"
        )
    if limit_bytes is not None and limit_bytes > gpu.memory_bytes:
        raise SpecError(
            f"the limit {Bytes(limit_bytes)} is above the {Bytes(gpu.memory_bytes)} "
            f"that are free on {gpu.name}; give a lower one"
        )
    return gpu


def _without_batch(values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if name != "batch"}
