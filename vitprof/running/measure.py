"""Measured step on the GPU of this machine: its memory by PyTorch and by the driver.

The procedure is that of the measured table: two steps until memory no longer changes, then a
third, in which `reset_peak_memory_stats` and `max_memory_allocated` bracket each phase.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vitprof.errors import SpecError
from vitprof.running.step import Runnable, Step

if TYPE_CHECKING:
    from vitprof.request.workload import Workload

_SETTLING = 2  # steps


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStep:
    """Measured memory of a step, in bytes.

    Attributes:
        device: name of the GPU.
        torch: version of PyTorch.
        cuda: version of CUDA that PyTorch was built with.
        before: allocated before the model was built: cuBLAS workspaces.
        allocated: `max_memory_allocated` of each phase.
        reserved: `max_memory_reserved` of the process.
        beside: used on the device beyond what PyTorch reserved: context and other processes.
    """

    device: str
    torch: str
    cuda: str
    before: int
    allocated: dict[str, int]
    reserved: int
    beside: int


def measure_step(model: Runnable, workload: Workload) -> MeasuredStep:
    """Run a step on the GPU and measure its memory.

    Raises:
        SpecError: PyTorch sees no GPU here, or the GPU's memory does not suffice.
    """
    if not torch.cuda.is_available():
        raise SpecError(
            f"PyTorch {torch.__version__} sees no CUDA GPU here to measure on; leave out "
            "--measure, or give --gpu to predict"
        )
    # Allocates the cuBLAS workspaces of both threads, as in a process that has multiplied before.
    weights = torch.ones(64, 64, device="cuda", requires_grad=True)
    torch.autograd.backward((weights @ weights).sum())
    del weights
    before = torch.cuda.memory_allocated()
    allocated: dict[str, int] = {}

    @contextmanager
    def bracketed(name: str) -> Iterator[None]:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        yield
        torch.cuda.synchronize()
        allocated[name] = torch.cuda.max_memory_allocated()

    try:
        step = Step(model, workload, device="cuda")
        for _ in range(_SETTLING):
            step()
        reserved = torch.cuda.max_memory_reserved()
        step(phase=bracketed)
    except torch.OutOfMemoryError as error:
        first = str(error).partition(". ")[0]
        raise SpecError(
            f"the step does not fit the GPU here: {first}; give a smaller batch, or predict"
        ) from error
    reserved = max(reserved, torch.cuda.max_memory_reserved())
    free, total = torch.cuda.mem_get_info()
    return MeasuredStep(
        device=torch.cuda.get_device_name(),
        torch=torch.__version__,
        cuda=torch.version.cuda or "",
        before=before,
        allocated=allocated,
        reserved=reserved,
        beside=total - free - torch.cuda.memory_reserved(),
    )
