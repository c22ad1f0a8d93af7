"""`vitprof.batch_size`: find the largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from vitprof.allocation.largest_batch import MOST
from vitprof.api.by_trial import TIMEOUT, search_by_trial
from vitprof.api.prediction import predict
from vitprof.errors import SpecError, unknown
from vitprof.formulas.mixer import Mixer
from vitprof.measuring.search import MAX_BATCH, STRATEGIES, Trial
from vitprof.measuring.trials import Device
from vitprof.progress import Say, quiet
from vitprof.report.batch_size import PredictedBatch, TriedBatch
from vitprof.request.budget import platform_of, read_budget
from vitprof.request.effects import check_arguments
from vitprof.request.specs import subject
from vitprof.request.workload import Workload, take_workload
from vitprof.sweeps import memory as step_needs
from vitprof.values.bytes import read_bytes
from vitprof.values.options import Whole

if TYPE_CHECKING:
    from torch import nn

    from vitprof.formulas.model import Model

_MAXIMUM = 1_000_000_000
FIRST = Whole("first batch to try", maximum=_MAXIMUM)
CAP = Whole("largest batch to try or to predict", maximum=_MAXIMUM)
PATIENCE = Whole("time limit of a trial, in seconds")


def batch_size(
    model: str | Model | nn.Module | None = None,
    inputs: object = None,
    *,
    workload: Workload | None = None,
    mixer: str | type[Mixer] | None = None,
    memory: str | None = None,
    gpu: str | None = None,
    torch: str | None = None,
    trace: bool = True,
    device: str | None = None,
    limit: str | None = None,
    strategy: str | None = None,
    start: int | str | None = None,
    max_batch: int | str | None = None,
    timeout: int | str = TIMEOUT,
    say: Say = quiet,
    tell: Callable[[Trial], None] = lambda trial: None,
    **options: object,
) -> PredictedBatch | TriedBatch:
    """Find the largest batch that fits a device, by prediction or by trial.

    Args:
        model: a name that `vitprof models` lists, a model made by `specify`, or any module.
        inputs: what a module is called with; its batch is ignored.
        workload: settings of the step; its batch is ignored. None to make it from `options`.
        mixer: a name that `vitprof mixers` lists, a reference, or a class.
        memory: memory budget of a prediction, such as `24GiB`.
        gpu: GPU that a predicted batch has to fit with all that a GPU adds, such as `h100`.
        torch: version of PyTorch on that GPU, such as `2.11`; None for the newest known.
        trace: check a prediction against a trace of a step on fake tensors.
        device: run real steps on `cpu` or `cuda`, each trial in a separate process.
        limit: memory that a trial may take on the device, such as `4GiB`; None for the free
            memory of the GPU. Required on the CPU.
        strategy: `bisect` or `predict`; see `vitprof.measuring.search.search`.
        start: first batch to try; None for 512 with `bisect` and for the prediction with
            `predict`.
        max_batch: largest batch to try or to predict; None for 65,536 of a trial.
        timeout: time limit of a trial, in seconds.
        say: called with a message on the current progress.
        tell: called with each trial when it ends.
        **options: options of the workload, the model and the mixer, such as `dtype="bf16"` or
            `dim=192`; an unknown name is an error.

    Returns:
        The prediction, or the result of the trials, also if a trial timed out or the user
        interrupted the search.

    Raises:
        SpecError: neither a memory budget nor a device is given, or both are; a model, mixer,
            option, GPU, device or strategy is unknown; or a value is invalid.
        TrialError: a trial failed for a reason other than memory.
    """
    if strategy is not None and strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    workload = take_workload(workload, options)
    spec, _ = subject(model, inputs, mixer=mixer, options=options)
    budget = read_budget(memory, gpu, torch)
    cap = None if max_batch is None else CAP.read("max_batch", max_batch)
    patience = PATIENCE.read("timeout", timeout)
    if budget is not None:
        if (device, limit, strategy, start) != (None,) * 4:
            raise SpecError(
                "--memory and --gpu predict without a device; leave out --device, --limit, "
                "--strategy and --start"
            )
        check_arguments(
            {"timeout": (patience, TIMEOUT)},
            "a prediction, which runs no trial; leave it out, or give --device instead of --memory "
            "or --gpu",
        )
        return predict(spec, workload, budget, most=min(cap or MOST, MOST), trace=trace, say=say)
    if device is None:
        raise SpecError(
            "no device and no memory budget is given; give --device cuda, or --device cpu with "
            "--limit, to run trials, or --memory or --gpu to predict"
        )
    check_arguments(
        {"trace": (trace, True)},
        "trials, which are real steps; leave it out, or give --memory or --gpu instead of --device",
    )
    step = replace(workload, device="cuda" if device == "cuda" else "cpu")

    def predicted(found: Device, budget: int) -> int:
        platform = None if found.type == "cpu" else platform_of(found.name)
        return max(1, step_needs.largest_of_capacity(spec, step, budget, platform))

    return search_by_trial(
        spec,
        step,
        device=device,
        strategy=strategy,
        start=None if start is None else FIRST.read("start", start),
        limit_bytes=None if limit is None else read_bytes("limit", limit),
        max_batch=MAX_BATCH if cap is None else cap,
        timeout=patience,
        predicted=predicted,
        say=say,
        tell=tell,
    )
