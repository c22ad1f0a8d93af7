"""Memory of a step, traced with fake tensors: no data, no GPU, any size.

A fake tensor has a shape, a dtype and a storage, but no data. Every storage is counted
from the function that allocates it until nothing refers to it any more, as PyTorch's
allocators do; so exactly the tensors that eager PyTorch holds are counted. Memory that a
library allocates inside one kernel (oneDNN's reordered weights, a convolution's workspace)
is no tensor and is not included.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from vitprof.running.gpu_kernels import GpuKernels, statistics_in_fp32
from vitprof.running.step import Step

if TYPE_CHECKING:
    from vitprof.request.workload import Workload
    from vitprof.subject import Subject

_STEPS = 2  # the optimizer's states exist from the second step on


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Trace of a step: bytes that its tensors take.

    Attributes:
        by_phase: the peak of each phase: forward, backward, optimizer.
        levels: bytes held at the beginning of each phase and after each allocation in it.
        functions: ATen's function that made each allocation of `levels`; empty at a beginning.
        events: every allocation and every free, in order: number of the allocation, and its
            bytes, negative if it is freed. The model's construction comes first.
    """

    by_phase: dict[str, int]
    levels: dict[str, tuple[int, ...]]
    functions: dict[str, tuple[str, ...]]
    events: tuple[tuple[int, int], ...]

    @property
    def phase(self) -> str:
        """Phase with the highest peak."""
        return max(self.by_phase, key=lambda phase: self.by_phase[phase])

    @property
    def peak_bytes(self) -> int:
        """Highest peak."""
        return self.by_phase[self.phase]


def trace(model: Subject, workload: Workload) -> Trace:
    """Trace a step of `model` under `workload`, on fake tensors of the CPU."""
    on_gpu = workload.device == "cuda"
    ledger = _Ledger(on_gpu=on_gpu)
    with FakeTensorMode(), ledger:
        step = Step(model, workload, device="cpu", around=GpuKernels if on_gpu else nullcontext)
        for _ in range(_STEPS):
            step(phase=ledger.phase)
    return Trace(
        by_phase={phase: max(levels) for phase, levels in ledger.levels.items()},
        levels={phase: tuple(levels) for phase, levels in ledger.levels.items()},
        functions={phase: tuple(names) for phase, names in ledger.functions.items()},
        events=tuple(ledger.events),
    )


class _Ledger(TorchDispatchMode):
    """Ledger of every storage from the call that first returns it until it is freed."""

    def __init__(self, *, on_gpu: bool) -> None:
        super().__init__()
        self._on_gpu = on_gpu
        self.levels: dict[str, list[int]] = {}
        self.functions: dict[str, list[str]] = {}
        self.events: list[tuple[int, int]] = []
        self._seen = 0
        self._live: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._bytes = 0
        self._phase = self._running = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book allocations in the body under a phase."""
        self._phase = name
        self.levels[name], self.functions[name] = [], []
        self._running = ""
        self._book(0)
        yield
        self._phase = ""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self._running = str(func)
        if self._on_gpu:
            result = statistics_in_fp32(func, result)
        tree_map_only(Tensor, self._note, result)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        known = self._live.get(key)
        if not size or (known is not None and known() is not None):
            return

        self._seen += 1
        number = self._seen

        def end(_: object) -> None:
            self._bytes -= size
            self._live.pop(key, None)
            self.events.append((number, -size))

        self.events.append((number, size))
        self._live[key] = weakref.ref(storage, end)
        self._book(size)

    def _book(self, size: int) -> None:
        self._bytes += size
        if self._phase:
            self.levels[self._phase].append(self._bytes)
            self.functions[self._phase].append(self._running)
