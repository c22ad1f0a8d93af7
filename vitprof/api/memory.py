"""What a step holds in memory, on paper and beside a trace: from a request to a report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vitprof.allocation.allocator import replay
from vitprof.allocation.departures import EAGER, TRACED, sentences
from vitprof.allocation.step import memory as follow
from vitprof.allocation.step import peaks
from vitprof.allocation.timeline import KINDS
from vitprof.allocation.timeline import Held as Entry
from vitprof.api.counts import read_levels
from vitprof.formulas.model import Model
from vitprof.progress import Say, quiet
from vitprof.report.memory import Beside, Gpu, Held, Memory, PhasePeak
from vitprof.report.rows import kept_rows
from vitprof.request.specs import specify
from vitprof.request.workload import Workload, take_workload
from vitprof.subject import Subject
from vitprof.values.size import Size
from vitprof.version import versions

if TYPE_CHECKING:
    from vitprof.running.trace import Trace

_CONVENTION = (
    "memory is the tensors of eager PyTorch, from their allocation until nothing refers to "
    "them; a tensor that several layers keep is booked where it is kept first; what kernels "
    "take within themselves and what a GPU adds is apart"
)
WORKSPACE = 8320 * 1024  # of cuBLAS by default: two of 4,096 KiB and eight of 16 KiB
CONTEXT = 290_000_000  # of CUDA since PyTorch 1.13, about


def memory(
    model: str | Model | None = None,
    workload: Workload | None = None,
    *,
    mixer: str | None = None,
    trace: bool = True,
    workspace: int = WORKSPACE,
    context: int = CONTEXT,
    fold: bool = False,
    levels: int | str | None = None,
    say: Say = quiet,
    **options: object,
) -> Memory:
    """Predict what a training step, or inference, holds in memory, layer by layer.

    Args:
        model: a name that `vitprof models` lists, or a model that `specify` made.
        workload: how it is trained or run; made from the options if it is not given.
        mixer: a name that `vitprof mixers` lists.
        trace: lay a trace of the real step beside it; without, nothing heavy is imported.
        workspace: bytes that a handle of cuBLAS takes on the GPU.
        context: bytes that the driver takes on the GPU.
        fold: give equal layers one row.
        levels: how deep below the model the rows go.
        say: told what is being done.
        **options: the workload's, the model's and the mixer's options, `batch=10`,
            `dtype="bf16"`, `dim=192`; a name that none of them has is an error.

    Raises:
        SpecError: there is no such model, mixer or option, or a value is wrong.
    """
    workload = take_workload(workload, options)
    spec = specify(model, mixer=mixer, options=options)
    found = follow(spec, workload)
    traced = None
    if trace:
        say("tracing a step on fake tensors")
        traced = trace_step(spec, workload)
    return Memory(
        spec=spec.conditions(),
        workload=workload.values(),
        versions=versions(["torch"] if trace else []),
        convention=_CONVENTION,
        phases={
            name: PhasePeak(bytes=peak.bytes, layer=peak.at, by_kind=peak.by_kind)
            for name, peak in found.peaks.items()
        },
        kept=found.kept_bytes,
        held=_held(found.held),
        beside=None if traced is None else lay_beside(traced, spec, workload),
        gpu=on_gpu(traced, workload, workspace=workspace, context=context),
        tree=kept_rows(
            spec.formula(workload.batch), found.kept, fold=fold, levels=read_levels(levels)
        ),
    )


def trace_step(model: Subject, workload: Workload) -> Trace:
    """Trace a step on fake tensors, which takes torch and some seconds."""
    from vitprof.running.trace import trace

    return trace(model, workload)


def lay_beside(traced: Trace, model: Subject, workload: Workload) -> Beside:
    """A trace beside the formula, and why eager PyTorch holds other memory.

    The departures of eager PyTorch from the trace are undone one after the other, so that
    what each of them is worth adds up to the whole difference.
    """
    before = peaks(model, workload)
    departures, apart = EAGER, {phase: dict[str, int]() for phase in before}
    for name, sentence in sentences().items():
        departures = departures.without(name)
        after = peaks(model, workload, departures=departures)
        for phase, most in before.items():
            if most != after[phase]:
                apart[phase][sentence] = most - after[phase]
        before = after
    assert departures == TRACED
    return Beside(traced=traced.by_phase, formula=before, apart=apart)


def on_gpu(
    traced: Trace | None, workload: Workload, *, workspace: int = WORKSPACE, context: int = CONTEXT
) -> Gpu | None:
    """What a GPU holds of a traced step; None if nothing was traced, or for a CPU."""
    if traced is None or workload.device != "cuda":
        return None
    segments = replay(traced.events)
    return Gpu(
        allocated=segments.allocated_bytes,
        reserved=segments.reserved_bytes,
        workspaces=workspace * _handles(workload),
        context=context,
    )


def beside(workload: Workload) -> int:
    """What a GPU holds beside PyTorch's segments, by default: workspaces and the context."""
    return WORKSPACE * _handles(workload) + CONTEXT


def _handles(workload: Workload) -> int:
    """Handles of cuBLAS: one for the forward pass, one for autograd's thread."""
    return 1 if workload.inference else 2


def _held(entries: Iterable[Entry]) -> tuple[Held, ...]:
    """The entries by kind; temporaries one by one, of the others those of a kind in one."""
    entries = [entry for entry in entries if entry.size.value]
    held = []
    for kind in KINDS:
        own = [entry for entry in entries if entry.kind == kind]
        apart = kind == "temporaries"
        for some in [[entry] for entry in own] if apart else [own] if own else []:
            size = some[0].size if len(some) == 1 else Size(sum(one.size.value for one in some))
            held.append(Held(kind=kind, path=some[0].at if apart else "", size=size))
    return tuple(held)
