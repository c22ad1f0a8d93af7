"""The largest batch that fits: from a request to a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vitprof.allocation.largest_batch import largest_batch
from vitprof.api.by_trial import TIMEOUT, search_by_trial
from vitprof.api.prediction import predict
from vitprof.errors import SpecError, unknown
from vitprof.measuring.search import MAX_BATCH, STRATEGIES, Trial
from vitprof.progress import Say, quiet
from vitprof.report.batch_size import PredictedBatch, TriedBatch
from vitprof.request.gpus import read_budget
from vitprof.request.specs import specify
from vitprof.request.workload import Workload, take_workload
from vitprof.values.bytes import read_bytes
from vitprof.values.options import Whole

_MAXIMUM = 1_000_000_000
FIRST = Whole("first batch to try", maximum=_MAXIMUM)
CAP = Whole("cap on the batch", maximum=_MAXIMUM)
PATIENCE = Whole("seconds that a trial may take")


def batch_size(
    model: str | None = None,
    workload: Workload | None = None,
    *,
    mixer: str | None = None,
    memory: str | None = None,
    gpu: str | None = None,
    trace: bool = True,
    device: str | None = None,
    limit: str | None = None,
    strategy: str | None = None,
    start: int | str | None = None,
    max_batch: int | str = MAX_BATCH,
    timeout: int | str = TIMEOUT,
    say: Say = quiet,
    tell: Callable[[Trial], None] = lambda trial: None,
    **options: object,
) -> PredictedBatch | TriedBatch:
    """Find the largest batch that fits a device, by predicting it or by trying it.

    Args:
        model: a name that `vitprof models` lists.
        workload: how it is trained or run, whose batch is not used; made from the options if
            it is not given.
        mixer: a name that `vitprof mixers` lists.
        memory: predict for so much, such as `24GiB`.
        gpu: predict for a named GPU, such as `h100`.
        trace: confirm a prediction by a trace of a step on fake tensors.
        device: try real steps on it, each in a process of its own: `cpu` or `cuda`.
        limit: memory that a batch may take on that device, such as `4GiB`; None for what is
            free on a GPU.
        strategy: `bisect` or `predict`; see `vitprof.measuring.search.search`.
        start: first batch to try; None for 512, or of `predict` the prediction.
        max_batch: cap on the batch that is tried.
        timeout: seconds that a trial may take.
        say: told what is being done.
        tell: told each trial as it ends.
        **options: the workload's, the model's and the mixer's options, `dtype="bf16"`,
            `dim=192`; a name that none of them has is an error.

    Returns:
        What is predicted, or what was found by trial, also if a trial timed out or the user
        interrupted the search.

    Raises:
        SpecError: neither memory nor a device is given, or both are; there is no such model,
            mixer, option, GPU, device or strategy; or a value is wrong.
        TrialError: a trial failed for another reason than memory.
    """
    if strategy is not None and strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    workload = take_workload(workload, options)
    spec = specify(model, mixer=mixer, options=options)
    budget = read_budget(memory, gpu)
    if budget is not None:
        if (device, limit, strategy, start) != (None,) * 4:
            raise SpecError("--memory and --gpu predict without a device; leave out its options")
        return predict(spec, workload, budget, trace=trace, say=say)
    if device is None:
        raise SpecError(
            "there is no device to try on; give --device cuda, or cpu with --limit, "
            "or predict without one by --memory or --gpu"
        )
    step = replace(workload, device="cuda" if device == "cuda" else "cpu")

    def predicted(budget: int) -> int:
        return max(1, largest_batch(spec, step, budget))

    return search_by_trial(
        spec,
        step,
        device=device,
        strategy=strategy,
        start=None if start is None else FIRST.read("start", start),
        limit_bytes=None if limit is None else read_bytes("limit", limit),
        max_batch=CAP.read("max_batch", max_batch),
        timeout=PATIENCE.read("timeout", timeout),
        predicted=predicted,
        say=say,
        tell=tell,
    )
