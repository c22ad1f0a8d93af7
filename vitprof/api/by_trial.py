"""The largest batch that fits a device, found by trial: from a request to a report."""

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
    from vitprof.formulas.model import Model
    from vitprof.progress import Say
    from vitprof.request.workload import Workload
    from vitprof.values.options import Value

DEVICES = ("cpu", "cuda")
TIMEOUT = 600  # seconds

_CONVENTIONS = {
    "cpu": (
        "the peak is the most that PyTorch's CPU allocator held at once over two steps; "
        "a batch fits where that is within the budget"
    ),
    "cuda": (
        "the peak is the most that PyTorch's allocator had reserved over two steps, the CUDA "
        "context not in it; a batch fits where that is within the budget"
    ),
}


def search_by_trial(
    model: Model,
    workload: Workload,
    *,
    device: str,
    strategy: str | None = None,
    start: int | None = None,
    limit_bytes: int | None = None,
    max_batch: int = MAX_BATCH,
    timeout: float = TIMEOUT,
    predicted: Callable[[int], int] | None = None,
    say: Say,
    tell: Callable[[Trial], None],
) -> TriedBatch:
    """Search by trial for the largest batch that fits.

    Args:
        model: what is trained or run.
        workload: how; its batch is not used.
        device: `cpu` or `cuda`.
        strategy: `bisect` or `predict`; None takes `predict` where `predicted` is given.
        start: the first batch; None takes 512, or of `predict` the prediction.
        limit_bytes: the budget; None takes the memory of the GPU that is free.
        max_batch: the cap on the batch.
        timeout: seconds that a trial may take.
        predicted: from the budget in bytes to the batch that is likely the largest.
        say: told what is being done.
        tell: told each trial as it ends.

    Returns:
        What was found, also where the search was interrupted or a trial timed out.

    Raises:
        SpecError: there is no such device or strategy, or the CPU is given no limit.
        TrialError: a trial failed for another reason than memory.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if strategy is None:
        strategy = "bisect" if predicted is None else "predict"
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    if strategy == "predict" and start is None and predicted is None:
        raise SpecError("there is no prediction to start from; give start, or take bisect")
    say(f"looking for the device {device}")
    found = _cpu(limit_bytes) if device == "cpu" else _gpu(limit_bytes, timeout)
    budget = found.memory_bytes if limit_bytes is None else limit_bytes
    if start is None:
        start = predicted(budget) if strategy == "predict" and predicted else START
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
        raise SpecError("the CPU has no memory of its own to fill; give a limit, such as 4GiB")
    return Device(type="cpu", name=platform.machine(), memory_bytes=limit_bytes)


def _gpu(limit_bytes: int | None, timeout: float) -> Device:
    gpu = probe("cuda", timeout=timeout)
    if not gpu.memory_bytes:
        raise SpecError(
            "there is no CUDA device that PyTorch can use here; "
            "take the device cpu with a limit, such as 4GiB"
        )
    if limit_bytes is not None and limit_bytes > gpu.memory_bytes:
        raise SpecError(
            f"the limit {Bytes(limit_bytes)} is above the {Bytes(gpu.memory_bytes)} "
            f"that are free on {gpu.name}; give less"
        )
    return gpu


def _without_batch(values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if name != "batch"}
