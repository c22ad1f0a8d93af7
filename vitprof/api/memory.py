"""`vitprof.memory`: predict the memory of a step, and compare it with a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, overload

from vitprof.allocation.departures import EAGER, TRACED, sentences
from vitprof.allocation.step import memory as step_memory
from vitprof.allocation.step import peaks
from vitprof.allocation.timeline import KINDS
from vitprof.allocation.timeline import Held as Entry
from vitprof.api.counts import read_levels
from vitprof.captured.subject import CapturedModel
from vitprof.cuda.platform import Platform
from vitprof.cuda.versions import spell
from vitprof.errors import SpecError
from vitprof.formulas.layer import Layer
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.model import Model
from vitprof.progress import Say, quiet
from vitprof.report.layers import Row
from vitprof.report.memory import (
    Beside,
    BudgetFit,
    Change,
    GpuMemory,
    Held,
    Kernels,
    MeasuredMemory,
    Memory,
    PhasePeak,
)
from vitprof.report.memory_by_dtype import MemoryByDtype
from vitprof.report.rows import kept_rows
from vitprof.request.budget import Budget, check_device, read_budget
from vitprof.request.specs import subject
from vitprof.request.workload import Workload, take_workload, workloads_of
from vitprof.subject import Subject
from vitprof.sweeps import memory as step_needs
from vitprof.values.size import Size
from vitprof.version import versions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vitprof.running.trace import Trace

_CONVENTION = (
    "memory is the tensors of eager PyTorch, from their allocation until nothing refers to "
    "them; a tensor that several layers keep is booked where it is kept first; what kernels "
    "take within themselves and what a GPU adds is apart"
)

_WITHOUT_LAYERS = "several dtypes, whose layers are not listed; leave it out, or give one dtype"


@overload
def memory(
    model: str | Model | nn.Module | None = None,
    inputs: object = None,
    *,
    dtype: list[str] | tuple[str, ...],
    **options: Any,
) -> MemoryByDtype: ...


@overload
def memory(
    model: str | Model | nn.Module | None = None,
    inputs: object = None,
    *,
    dtype: str | None = None,
    **options: Any,
) -> Memory: ...


def memory(
    model: str | Model | nn.Module | None = None,
    inputs: object = None,
    *,
    dtype: str | list[str] | tuple[str, ...] | None = None,
    workload: Workload | None = None,
    mixer: str | type[Mixer] | None = None,
    loss: Callable[[Any], Tensor] | None = None,
    trace: bool = True,
    memory: str | None = None,
    gpu: str | None = None,
    torch: str | None = None,
    measure: bool = False,
    fold: bool | None = None,
    levels: int | str | None = None,
    say: Say = quiet,
    **options: object,
) -> Memory | MemoryByDtype:
    """Predict the memory of a training step or of inference, layer by layer.

    Args:
        model: a name that `vitprof models` lists, a model made by `specify`, or any module.
        inputs: what a module is called with: a tensor, a shape with the batch in front, a tuple
            of them, or a dict of those by keyword.
        dtype: dtype of weights and activations; several are laid side by side, without layers,
            among them `bf16-autocast` and `fp16-autocast`.
        workload: settings of the step; None to make it from `options`.
        mixer: a name that `vitprof mixers` lists, a reference, or a class.
        loss: loss of a module's output; None for its `loss`, cross entropy of logits against
            labels 0, or the mean of its first tensor.
        trace: compare with a trace of the real step on fake tensors; False does not import
            PyTorch.
        memory: memory that the step has to fit, such as `24GiB`.
        gpu: GPU that the step has to fit, and whose kernels' own memory is added, `h100`.
        torch: version of PyTorch on that GPU, such as `2.11`; None for the newest known.
        measure: run the step on the GPU of this machine, too, and measure it.
        fold: show equal layers in one row; None to do so only in what people read.
        levels: levels of layers to show; None for all.
        say: called with a message on the current progress.
        **options: options of the workload, the model and the mixer, such as `batch=10` or
            `dim=192`; an unknown name is an error.

    Raises:
        SpecError: a model, mixer or option is unknown, or a value is invalid.
    """
    budget = read_budget(memory, gpu, torch)
    if isinstance(dtype, list | tuple):
        for word, value in (("fold", fold), ("levels", levels)):
            if value is not None:
                raise SpecError(f"{word} has no effect with {_WITHOUT_LAYERS}")
        if workload is not None:
            raise SpecError("a workload has one dtype; give its settings by name, with several")
        settings = {name: options.pop(name) for name in Workload.declared() if name in options}
        workloads = workloads_of(dtype, settings)
        spec, given = subject(model, inputs, mixer=mixer, options=options)
        if given is not None and "batch" not in settings:
            workloads = {name: replace(one, batch=given) for name, one in workloads.items()}
        reports = {}
        for name, one in workloads.items():
            say(f"predicting the memory in {name}")
            reports[name] = _predicted(
                *(spec, one, budget, loss),
                trace=trace,
                measure=measure,
                fold=True,
                levels=1,
                say=say,
            )
        return MemoryByDtype(reports=reports)
    if dtype is not None:
        options["dtype"] = dtype
    told = {*options} if workload is None else {"batch", "dtype"}
    workload = take_workload(workload, options)
    spec, given = subject(model, inputs, mixer=mixer, options=options)
    if given is not None and "batch" not in told:
        workload = replace(workload, batch=given)
    if isinstance(spec, CapturedModel) and "dtype" not in told:
        workload = replace(workload, dtype=spec.dtype or workload.dtype)
    return _predicted(
        *(spec, workload, budget, loss),
        trace=trace,
        measure=measure,
        fold=fold,
        levels=read_levels(levels),
        say=say,
    )


def _predicted(
    spec: Model | CapturedModel,
    workload: Workload,
    budget: Budget | None,
    loss: Callable[[Any], Tensor] | None,
    *,
    trace: bool,
    measure: bool,
    fold: bool | None,
    levels: int | None,
    say: Say,
) -> Memory:
    """Predict the memory of a step, as `memory` does."""
    platform = None if budget is None else budget.platform
    check_device(budget, workload)
    if isinstance(spec, CapturedModel):
        if not trace:
            raise SpecError("the memory of a module is that of a trace; leave out --no-trace")
        spec = replace(spec, loss=loss)
        return _of_module(
            spec, workload, budget, measure=measure, fold=fold, levels=levels, say=say
        )
    if loss is not None:
        raise SpecError("loss is that of a module; vitprof's own models have theirs")
    found = step_memory(spec, workload)
    on_platform = None if platform is None else gpu_memory(spec, workload, platform)
    fits = None
    if budget is not None:
        takes = found.peak.bytes if on_platform is None else on_platform.total
        fits = _fit(spec, workload, budget, takes)
    measured = None
    if measure:
        say("measuring a step on the GPU")
        measured = _measured(spec, workload)
    traced = None
    if trace:
        say("tracing a step on fake tensors")
        traced = trace_step(spec, workload)
    tree = spec.formula(workload.batch)
    full, folded = _trees(tree, found.kept, fold=fold, levels=levels)
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
        beside=None if traced is None else compare_with_trace(traced, spec, workload, platform),
        gpu=on_platform,
        measured=measured,
        fits=fits,
        tree=full,
        folded=folded,
    )


def _trees(
    tree: Layer, kept: Mapping[str, Size], *, fold: bool | None, levels: int | None
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return the rows of a report for programs, and those for people."""
    full = kept_rows(tree, kept, fold=bool(fold), levels=levels)
    return full, kept_rows(tree, kept, fold=True, levels=levels) if fold is None else full


def _of_module(
    model: CapturedModel,
    workload: Workload,
    budget: Budget | None,
    *,
    measure: bool,
    fold: bool | None,
    levels: int | None,
    say: Say,
) -> Memory:
    """Predict the memory of a step of a module by a trace."""
    say("tracing a step on fake tensors")
    found = trace_step(model, workload)
    platform = None if budget is None else budget.platform
    on_platform = None
    if platform is not None:
        say(f"tracing a step on {platform.gpu.name}")
        on_platform = gpu_memory(model, workload, platform)
    fits = None
    if budget is not None:
        say("looking for what fits")
        taken = found.peak_bytes if on_platform is None else on_platform.total
        fits = _fit(model, workload, budget, taken)
    measured = None
    if measure:
        say("measuring a step on the GPU")
        measured = _measured(model, workload)
    tree = model.modules(found.saved)
    kept = {path: Size(size) for path, size in found.saved.items()}
    full, folded = _trees(tree, kept, fold=fold, levels=levels)
    held: dict[tuple[str, str], int] = {}
    for one in found.held:
        at = one.at or "the module"
        held[one.kind, at] = held.get((one.kind, at), 0) + one.bytes
    entries = [Entry(Size(size), kind, at) for (kind, at), size in held.items()]
    return Memory(
        spec=model.conditions(),
        workload=workload.values(),
        versions=versions(["torch"]),
        convention=_CONVENTION,
        phases={
            name: PhasePeak(bytes=peak.bytes, layer=peak.at, by_kind=peak.by_kind)
            for name, peak in found.peaks.items()
        },
        kept=sum(found.saved.values()),
        held=_held(entries),
        beside=None,
        gpu=on_platform,
        measured=measured,
        fits=fits,
        tree=full,
        folded=folded,
        traced=True,
    )


def trace_step(model: Subject, workload: Workload, platform: Platform | None = None) -> Trace:
    """Trace a step on fake tensors, which imports PyTorch and takes some seconds.

    Args:
        model: model that is trained or run.
        workload: settings of the step.
        platform: GPU whose kernels' own memory is traced too; None for none.
    """
    from vitprof.running.trace import trace

    own = model.loss if isinstance(model, CapturedModel) else None
    return trace(model, workload, platform=platform, loss=own)


def compare_with_trace(
    traced: Trace, model: Subject, workload: Workload, platform: Platform | None
) -> Beside:
    """Compare the formula with a trace, and explain the difference to eager PyTorch.

    The departures of eager PyTorch from the trace are undone one after the other, so the
    bytes of each add up to the whole difference. With a platform, both are compared with the
    memory of its kernels, too.
    """
    kernels = None
    if platform is not None:
        kernels = Kernels(
            gpu=platform.gpu.name,
            traced=trace_step(model, workload, platform).by_phase,
            formula=peaks(model, workload, platform=platform),
        )
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
    return Beside(traced=traced.by_phase, formula=before, apart=apart, kernels=kernels)


def gpu_memory(model: Subject, workload: Workload, platform: Platform) -> GpuMemory:
    """Predict the memory of a step on a GPU, with all that kernels, allocator and driver add."""
    found = step_needs.on_platform(model, workload, platform)
    return GpuMemory(
        name=platform.gpu.name,
        torch=spell(platform.torch),
        allocated=found.allocated,
        reserved=found.reserved,
        context=platform.gpu.context_bytes,
        context_source=platform.gpu.context_source,
        convolution=found.convolution,
        workspace=found.workspace,
    )


def _measured(model: Subject, workload: Workload) -> MeasuredMemory:
    if workload.device != "cuda":
        raise SpecError("the step of the CPU is not measured; leave out --measure or --device")
    from vitprof.running.measure import measure_step

    return MeasuredMemory(**asdict(measure_step(model, workload)))


def _fit(model: Subject, workload: Workload, budget: Budget, takes: int) -> BudgetFit:
    """Compare the bytes that a step takes with a budget; list changes that make it fit."""
    if takes <= budget.bytes:
        return BudgetFit(budget=budget, takes=takes, changes=())
    changes = []
    for option, changed in _changes(workload):
        changed_takes = _takes(model, changed, budget)
        if changed_takes <= budget.bytes:
            changes.append(Change(option=option, bytes=changed_takes))
    for option, changed in (("", workload), *_changes(workload)):
        batch = step_needs.largest(model, changed, budget, most=workload.batch)
        if 0 < batch < workload.batch:
            own = replace(changed, batch=batch)
            words = f"--batch {batch} {option}".rstrip()
            changes.append(Change(option=words, bytes=_takes(model, own, budget)))
    return BudgetFit(budget=budget, takes=takes, changes=tuple(changes))


def _changes(workload: Workload) -> list[tuple[str, Workload]]:
    """Ways to save memory at the same batch: checkpointing, autocast, both."""
    found: list[tuple[str, Workload]] = []
    checkpoints = not (workload.inference or workload.checkpoint)
    casts = workload.dtype == "fp32"
    if checkpoints:
        found.append(("--checkpoint", replace(workload, checkpoint=True)))
    if casts:
        cast = replace(workload, dtype="bf16", autocast=True)
        found.append(("--dtype bf16 --autocast", cast))
        if checkpoints:
            both = replace(cast, checkpoint=True)
            found.append(("--checkpoint --dtype bf16 --autocast", both))
    return found


def _takes(model: Subject, workload: Workload, budget: Budget) -> int:
    """Bytes that a step takes of a budget."""
    return step_needs.takes(model, workload, budget)


def _held(entries: Iterable[Entry]) -> tuple[Held, ...]:
    """Return the entries by kind: each temporary, and one sum of every other kind."""
    entries = [entry for entry in entries if entry.size.value]
    held = []
    for kind in KINDS:
        own = [entry for entry in entries if entry.kind == kind]
        apart = kind == "temporaries"
        for some in [[entry] for entry in own] if apart else [own] if own else []:
            size = some[0].size if len(some) == 1 else Size(sum(one.size.value for one in some))
            held.append(Held(kind=kind, path=some[0].at if apart else "", size=size))
    return tuple(held)
