"""Time of a step of any subject on a GPU: by formula for a model, by a trace for a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vitprof.allocation.launches import Launch
from vitprof.allocation.roofline import StepTime, step_time
from vitprof.allocation.step import launches
from vitprof.captured.subject import CapturedModel
from vitprof.cuda.speed import Speed, speed_of
from vitprof.errors import SpecError

if TYPE_CHECKING:
    from vitprof.cuda.platform import Platform
    from vitprof.request.budget import Budget
    from vitprof.request.workload import Workload
    from vitprof.subject import Subject

Batches = list[tuple[int, Mapping[str, Sequence[Launch]]]]


def batches(model: Subject, workload: Workload, platform: Platform) -> Batches:
    """Return the launches of a step by phase, and how many of its batches have them."""
    workload = replace(workload, device="cuda")
    if isinstance(model, CapturedModel):
        last = _traced(model, workload, platform)
    else:
        last = launches(model, workload, platform)
    before = workload.accumulate - 1
    if not before:
        return [(1, last)]
    passes = {name: some for name, some in last.items() if name != "optimizer"}
    if isinstance(model, CapturedModel) or workload.keep_gradients:
        return [(before, passes), (1, last)]
    first = launches(model, workload, platform, first=True)
    first = {name: some for name, some in first.items() if name != "optimizer"}
    return [(1, first), *([(before - 1, passes)] if before > 1 else []), (1, last)]


def _traced(
    model: CapturedModel, workload: Workload, platform: Platform
) -> Mapping[str, Sequence[Launch]]:
    def traced() -> Mapping[str, Sequence[Launch]]:
        from vitprof.running.trace import trace

        return trace(model, workload, platform=platform, loss=model.loss).launches

    return model.known(("launches", workload, platform.gpu.name, platform.torch), traced)


def on_gpu(
    model: Subject, workload: Workload, platform: Platform, speed: Speed | None = None
) -> StepTime:
    """Return the time of a step on a GPU.

    Args:
        model: model that is trained or run.
        workload: settings of the step.
        platform: GPU and version of PyTorch.
        speed: speed of the GPU and its host; None for that of the table.

    Raises:
        SpecError: the speed of the GPU in this dtype is not known.
    """
    speed = speed_of(platform.gpu, workload.dtype) if speed is None else speed
    return step_time(batches(model, workload, platform), workload, speed)


def seconds(model: Subject, workload: Workload, budget: Budget | None) -> float:
    """Return the predicted time of a step on the GPU of a budget.

    Raises:
        SpecError: there is no GPU, or its speed in this dtype is not known.
    """
    if budget is None or budget.platform is None:
        raise SpecError("the time of a step is predicted on a GPU; give --gpu, such as h100")
    return on_gpu(model, workload, budget.platform).seconds
