"""Process that trains on a GPU: its allocations in order, through the caching allocator.

The process has multiplied matrices before, so that cuBLAS has its workspace for each thread that
does: the forward pass's and, in training, autograd's. It builds the model, makes the inputs, and
runs three steps: the first makes the optimizer's states, after the second the allocator's cache
no longer changes, the third is counted. With gradient accumulation a step has at most three
batches, since those after the second equal the second. The buckets of DistributedDataParallel
are made after the model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitprof.allocation.allocator import Allocator, Block
from vitprof.allocation.buckets import buckets
from vitprof.allocation.optimizer import parameter_sizes, states_of
from vitprof.allocation.step import follow
from vitprof.allocation.timeline import BYTES, Storage, Timeline
from vitprof.formulas.layer import Layer
from vitprof.formulas.op import BatchNorm, Buffer, Op, Parameter, TokenBatchNorm
from vitprof.values.size import product

if TYPE_CHECKING:
    from vitprof.cuda.platform import Platform
    from vitprof.request.workload import Workload
    from vitprof.subject import Subject

STEPS = 3
_BATCHES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OnGpu:
    """Memory that PyTorch holds on a GPU, in bytes.

    Attributes:
        allocated: `torch.cuda.max_memory_allocated` of each phase of a step.
        reserved: `torch.cuda.max_memory_reserved` of the process.
        convolution: path of a convolution whose workspace may raise the peak; empty if none can.
        workspace: most bytes by which it may raise the peak; see `vitprof.cuda.convolutions`.
    """

    allocated: dict[str, int]
    reserved: int
    convolution: str = ""
    workspace: int = 0

    @property
    def peak(self) -> int:
        """Most bytes that are allocated in a step."""
        return max(self.allocated.values())


def on_gpu(
    model: Subject, workload: Workload, platform: Platform, *, capacity: int | None = None
) -> OnGpu:
    """Predict what PyTorch allocates and reserves for a step of `model`.

    Args:
        model: model that is trained or run.
        workload: batch, dtypes, optimizer and the like; its device is a GPU.
        platform: GPU and version of PyTorch.
        capacity: bytes that may be reserved; None sets no limit.

    Raises:
        DoesNotFitError: the capacity has no room for an allocation, even with caches released.
    """
    reading, _ = follow(model, workload, every=True, platform=platform)
    timeline, element = reading.eager.timeline, BYTES[reading.eager.weight_dtype]
    first = later = _Batch(timeline)
    if workload.adds_gradients:
        begin, _ = follow(model, workload, every=True, platform=platform, first=True)
        first = _Batch(begin.eager.timeline)
    tree = model.program(workload.batch).tree()
    process = Process(workload, platform, capacity=capacity)
    for size in _resident(tree, element):
        process.take(size)
    if workload.ddp != "none":
        sizes = [parameter.value * element for parameter in parameter_sizes(tree, None)]
        for bucket in buckets(sizes):
            process.take(sum(sizes[place] for place in bucket))
    for storage in timeline.storages:
        if not storage.birth and storage.kind == "inputs" and storage.bytes:
            process.take(storage.bytes)
    states = [
        size
        for parameter in parameter_sizes(tree, None)
        for size in states_of(parameter, workload, element)
    ]
    batches = min(workload.accumulate, _BATCHES)
    steps = _Steps(process)
    for step in range(1 if workload.inference else STEPS):
        if step and workload.keep_gradients:
            steps.run([later] * batches, [])
        else:
            steps.let_go()
            steps.run([first, *[later] * (batches - 1)], [] if step else states)
    levels = timeline.levels()
    convolutions = [(levels[now], at, most) for now, at, most in reading.eager.convolutions]
    return process.found(convolutions, max(levels))


class _Batch:
    """Allocations of a step on one batch by their instants.

    Attributes:
        phases: the first instant of each phase and the first after it, by name.
        begins: the storage that is allocated at an instant.
        ends: storages whose last instant it is.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.phases = timeline.phases
        self.begins: dict[int, Storage] = {}
        self.ends: dict[int, list[Storage]] = defaultdict(list)
        for storage in timeline.storages:
            if storage.birth:
                self.begins[storage.birth] = storage
                self.ends[storage.last].append(storage)


class Process:
    """Process that allocates on a GPU; cuBLAS has its workspaces.

    Args:
        workload: how the model is trained or run.
        platform: GPU and version of PyTorch.
        capacity: bytes that may be reserved; None sets no limit.

    Attributes:
        allocator: allocator of the process.
        allocated: most bytes that were allocated in each phase, the last time it ran.
    """

    def __init__(self, workload: Workload, platform: Platform, *, capacity: int | None) -> None:
        self.allocator = Allocator(capacity=capacity)
        self.allocated: dict[str, int] = {}
        if platform.cublas_workspace:
            for _ in range(1 if workload.inference else 2):
                self.take(platform.cublas_workspace)

    def take(self, size: int) -> None:
        """Allocate memory that stays to the end of the process."""
        self.allocator.allocate(size)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note the most bytes that are allocated in the body under a name."""
        level = self.allocator.allocated
        level.peak = level.now
        yield
        self.allocated[name] = level.peak

    def found(self, convolutions: Iterable[tuple[int, str, int]], peak: int) -> OnGpu:
        """Return what the process held.

        Args:
            convolutions: bytes of tensors at each convolution of a step, its path and the largest
                workspace that cuDNN may choose.
            peak: most bytes of tensors in that step.
        """
        raised = [(level + most - peak, at) for level, at, most in convolutions]
        workspace, convolution = max(raised, default=(0, ""))
        return OnGpu(
            allocated=self.allocated,
            reserved=self.allocator.reserved.peak,
            convolution=convolution if workspace > 0 else "",
            workspace=max(workspace, 0),
        )


class _Steps:
    """Steps on paper that a process replays."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._allocator = process.allocator
        self._gradients: list[Block] = []

    def let_go(self) -> None:
        """Free the gradients."""
        for block in self._gradients:
            self._allocator.free(block)
        self._gradients = []

    def run(self, batches: list[_Batch], states: list[int]) -> None:
        """Replay a step of one or more batches, in which the optimizer makes these states."""
        for batch in batches[:-1]:
            self._run(batch, ("forward", "backward"))
        self._run(batches[-1], tuple(batches[-1].phases), states)

    def _run(self, batch: _Batch, phases: tuple[str, ...], states: Iterable[int] = ()) -> None:
        live: dict[int, Block] = {}
        for name in phases:
            with self._process.phase(name):
                for size in states if name == "optimizer" else ():
                    self._process.take(size)
                for instant in range(*batch.phases[name]):
                    storage = batch.begins.get(instant)
                    if storage is not None:
                        live[instant] = self._allocator.allocate(storage.bytes)
                    for ended in batch.ends.get(instant, ()):
                        self._allocator.free(live.pop(ended.birth))
        self._gradients += live.values()


def _resident(layer: Layer, element: int) -> Iterator[int]:
    """Yield bytes of each parameter and buffer: those of a module itself, then of submodules."""
    for child in layer.children:
        if isinstance(child, Parameter):
            yield product(child.axes).value * element
        elif isinstance(child, Buffer):
            yield product(child.axes).value * BYTES.get(child.dtype, element)
    for child in layer.each():
        if isinstance(child, Layer):
            yield from _resident(child, element)
        elif not isinstance(child, Parameter | Buffer):
            yield from _of_op(child, element)


def _of_op(op: Op, element: int) -> Iterator[int]:
    own = [op.weights.value, op.biases.value]
    if isinstance(op, BatchNorm | TokenBatchNorm):
        own += [op.channels.value] * 2
        yield BYTES["int64"]
    yield from (numbers * element for numbers in own if numbers)
