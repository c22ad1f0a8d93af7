"""Memory of a step, traced with fake tensors: no data, no GPU, any size.

A fake tensor has a shape, a dtype and a storage, but no data. Every storage is counted
from the function that allocates it until nothing refers to it any more, as PyTorch's
allocators do; so exactly the tensors that eager PyTorch holds are counted. Memory that a
library allocates inside one kernel (oneDNN's reordered weights, a convolution's workspace)
is no tensor and is not included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vitprof.allocation.timeline import KINDS, Peak
from vitprof.captured.calling import quietly
from vitprof.captured.failures import explain
from vitprof.captured.subject import CapturedModel
from vitprof.errors import SpecError
from vitprof.exclusive import exclusive
from vitprof.running.ledger import Ledger
from vitprof.running.step import Loss, Phase, Runnable, Step

if TYPE_CHECKING:
    from vitprof.allocation.launches import Launch
    from vitprof.cuda.platform import Platform
    from vitprof.request.workload import Workload

_STEPS = 2  # the optimizer's states exist from the second step on


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedStorage:
    """Storage that is held at a peak.

    Attributes:
        kind: one of `vitprof.allocation.timeline.KINDS`.
        at: path of the submodule that allocated it, or saves it; empty if not known.
        bytes: its bytes.
        shape: shape of the tensor that it was allocated for.
        dtype: dtype of that tensor, as PyTorch names it.
    """

    kind: str
    at: str
    bytes: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Trace of a step: bytes that its tensors take.

    Attributes:
        by_phase: the peak of each phase: forward, backward, optimizer.
        levels: bytes held at the beginning of each phase and after each allocation in it.
        functions: ATen's function that made each allocation of `levels`; empty at a beginning.
        events: every allocation and every free, in order: number of the allocation, and its
            bytes, negative if it is freed. The model's construction comes first.
        built: number of events before the first step.
        phases: of the last step, the first event of each phase and the first after it.
        peaks: the peak of each phase, with the path that ran and its bytes by kind; its instant
            is the index of an event.
        held: storages that are held at the highest peak.
        saved: bytes that are saved for the backward pass, by the path that saves them first.
        convolutions: bytes held at each convolution, its path and largest workspace, by phase.
        launches: launches of kernels, by phase; empty without a platform.
    """

    by_phase: dict[str, int]
    levels: dict[str, tuple[int, ...]]
    functions: dict[str, tuple[str, ...]]
    events: tuple[tuple[int, int], ...]
    built: int
    phases: dict[str, tuple[int, int]]
    peaks: dict[str, Peak]
    held: tuple[TracedStorage, ...]
    saved: dict[str, int]
    convolutions: dict[str, tuple[tuple[int, str, int], ...]]
    launches: dict[str, tuple[Launch, ...]]

    @property
    def phase(self) -> str:
        """Phase with the highest peak."""
        return max(self.by_phase, key=lambda phase: self.by_phase[phase])

    @property
    def peak_bytes(self) -> int:
        """Highest peak."""
        return self.by_phase[self.phase]


@exclusive()
def trace(
    model: Runnable,
    workload: Workload,
    *,
    platform: Platform | None = None,
    loss: Loss | None = None,
    steps: int = _STEPS,
) -> Trace:
    """Trace a step of `model` under `workload`, on fake tensors of the CPU.

    Args:
        model: model that is trained or run.
        workload: batch, dtypes, optimizer and the like.
        platform: GPU whose kernels' own memory is booked too, with tensors as eager PyTorch makes
            them; None for the tensors of the trace alone.
        loss: loss of the module's output; None for that of `vitprof.running.step.Step`.
        steps: steps of training, of which the last is reported; 2 or more.

    Raises:
        SpecError: a module raises in its step.
    """
    on_gpu = workload.device == "cuda"
    ledger = Ledger(on_gpu=on_gpu, platform=platform, trains=not workload.inference)
    paths = ledger.paths
    around_it = quietly() if isinstance(model, CapturedModel) else nullcontext()
    usual = torch.inference_mode(mode=False), torch.enable_grad()
    try:
        # A loss of one's own may hold labels.
        fake = FakeTensorMode(allow_non_fake_inputs=loss is not None)
        with around_it, usual[0], usual[1], fake, ledger, paths.watched():
            around = ledger.around if on_gpu else nullcontext
            step = Step(model, workload, device="cpu", around=around, loss=loss)
            paths.name(step.module)
            _book_resident(ledger, step)
            built, ledger.is_built = len(ledger.events), True
            for number in range(1 if workload.inference else steps):
                step(phase=_phases(ledger, workload, saves=number == steps - 1))
                if not number and step.optimizer is not None:
                    ledger.book("optimizer", _states(step.module, step.optimizer))
    except SpecError:
        raise
    except Exception as error:  # of any code of the module's author
        if not isinstance(model, CapturedModel):
            raise
        doing = "forward" if workload.inference else "step of training"
        raise explain(model.name, error, doing) from error
    return _traced(ledger, built)


def _phases(ledger: Ledger, workload: Workload, *, saves: bool) -> Phase:
    """Return what watches the phases of a step, and what its forward pass saves if it `saves`."""
    outside = {"forward": "loss", "backward": "", "optimizer": workload.optimizer}

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        ledger.paths.outside = outside[name]
        with ExitStack() as stack:
            if saves and name == "forward":
                stack.enter_context(ledger.watch_saved())
            stack.enter_context(ledger.phase(name))
            yield

    return phase


def _book_resident(ledger: Ledger, step: Step) -> None:
    """Book what is there before a step: parameters, inputs, and all else as buffers."""
    module = step.module
    ledger.book("parameters", ((_owner(path), one) for path, one in module.named_parameters()))
    inputs = (*step.inputs, *step.keywords.values(), step.labels)
    ledger.book("inputs", (("", one) for one in inputs))
    ledger.book("gradients", (("", one) for one in step.buckets))
    ledger.book("buffers", ((_owner(path), one) for path, one in module.named_buffers()))
    ledger.book_rest("buffers", "temporaries")
    if step.optimizer is not None:
        ledger.watch_gradients(module)


def _states(module: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for path, parameter in module.named_parameters():
        for state in optimizer.state.get(parameter, {}).values():
            if isinstance(state, Tensor):
                yield _owner(path), state


def _owner(path: str) -> str:
    return path.rpartition(".")[0]


def _traced(ledger: Ledger, built: int) -> Trace:
    peaks = {phase: _peak(ledger, phase) for phase in ledger.levels}
    highest = max(peaks.values(), key=lambda peak: peak.bytes)
    return Trace(
        by_phase={phase: max(levels) for phase, levels in ledger.levels.items()},
        levels={phase: tuple(levels) for phase, levels in ledger.levels.items()},
        functions={phase: tuple(names) for phase, names in ledger.functions.items()},
        events=tuple(ledger.events),
        built=built,
        phases=ledger.phases,
        peaks=peaks,
        held=tuple(_held(ledger, highest.instant)),
        saved=ledger.saved,
        convolutions={phase: tuple(some) for phase, some in ledger.convolutions.items()},
        launches={phase: tuple(some) for phase, some in ledger.launches.items()},
    )


def _peak(ledger: Ledger, phase: str) -> Peak:
    levels = ledger.levels[phase]
    place = levels.index(max(levels))
    instant = ledger.instants[phase][place]
    by_kind = dict.fromkeys(KINDS, 0)
    for storage in _held(ledger, instant):
        by_kind[storage.kind] += storage.bytes
    return Peak(
        bytes=levels[place], at=ledger.places[phase][place], by_kind=by_kind, instant=instant
    )


def _held(ledger: Ledger, event: int) -> Iterator[TracedStorage]:
    for one in ledger.bookings:
        if one.begin <= event and (one.end is None or one.end > event):
            kind, at = one.at(event)
            yield TracedStorage(kind=kind, at=at, bytes=one.bytes, shape=one.shape, dtype=one.dtype)
