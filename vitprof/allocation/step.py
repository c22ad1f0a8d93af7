"""Memory of a step on paper: forward pass, backward pass, optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

from vitprof.allocation.departures import EAGER, Departures
from vitprof.allocation.eager import Eager
from vitprof.allocation.optimizer import states, step, trained
from vitprof.allocation.reading import StepReading
from vitprof.allocation.rules import RULES, Rule
from vitprof.allocation.timeline import BYTES, Held, Peak, Timeline
from vitprof.formulas.layer import Measure
from vitprof.formulas.op import BatchNorm, Buffer, TokenBatchNorm
from vitprof.formulas.work import Work
from vitprof.values.size import Size, product

if TYPE_CHECKING:
    from vitprof.allocation.launches import Launch
    from vitprof.cuda.platform import Platform
    from vitprof.formulas.layer import Layer
    from vitprof.formulas.program import Program
    from vitprof.request.workload import Workload
    from vitprof.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory that a step holds at once.

    Attributes:
        peaks: the peak of each phase: forward, backward, optimizer.
        kept: bytes that are saved for the backward pass at the end of the forward pass, by the
            path of the op that saves them.
        kept_bytes: sum of `kept`.
        timeline: every storage of the step, by instants.
    """

    peaks: dict[str, Peak]
    kept: dict[str, Size]
    kept_bytes: int
    timeline: Timeline

    @property
    def phase(self) -> str:
        """Phase with the highest peak."""
        return max(self.peaks, key=lambda phase: self.peaks[phase].bytes)

    @property
    def peak(self) -> Peak:
        """Highest peak."""
        return self.peaks[self.phase]

    @property
    def held(self) -> tuple[Held, ...]:
        """Storages that are held at the highest peak."""
        return self.timeline.held(self.peak.instant)


def follow(
    model: Subject,
    workload: Workload,
    *,
    rules: Mapping[Work, Rule] = RULES,
    every: bool = False,
    departures: Departures = EAGER,
    platform: Platform | None = None,
    first: bool | None = None,
    launching: bool = False,
) -> tuple[StepReading, int]:
    """Follow a step of `model` on paper.

    Args:
        model: model that is trained or run.
        workload: batch, dtypes, optimizer and the like.
        rules: memory rule of each kind of work.
        every: follow each of equal blocks.
        departures: differences from a trace on fake tensors that are included.
        platform: GPU and PyTorch whose kernels' own memory counts too; None for tensors alone.
        first: True for a batch that finds no gradients, False for one that does; None for the
            last batch of a settled step.
        launching: note the launches of kernels too; with a platform, and `every`.

    Returns:
        The reading, whose timeline has every storage, and the last instant of the forward pass.

    Raises:
        FormulaError: a kind of work has no memory rule.
    """
    program = model.program(workload.batch)
    if first is None:
        first = not workload.adds_gradients
    left = 0
    if not first:
        before, _ = follow(
            *(model, workload),
            rules=rules,
            every=every,
            departures=departures,
            platform=platform,
            first=True,
        )
        left = _left(before.eager.timeline)
    tails: dict[str, int] = {}
    while True:
        eager = Eager(
            *(Timeline(), workload, departures, platform), first=first, launching=launching
        )
        reading = StepReading(eager, rules, every=every, tails=tails, mixer=model.variant)
        forward = _run(program, reading, workload, left)
        unlike = reading.settle(forward)
        if not unlike:
            return reading, forward
        tails |= {name: tails.get(name, 1) + 1 for name in unlike}


def launches(
    model: Subject,
    workload: Workload,
    platform: Platform,
    *,
    first: bool | None = None,
    every: bool = False,
    rules: Mapping[Work, Rule] = RULES,
) -> dict[str, list[Launch]]:
    """Return the launches of kernels in a step of `model` on a GPU, by phase; see `follow`.

    They are in order with `every`; else those of blocks that were not followed come last.
    """
    reading, _ = follow(
        *(model, workload),
        rules=rules,
        every=every,
        platform=platform,
        first=first,
        launching=True,
    )
    found = reading.eager.by_phase
    for name, skipped in reading.skipped.items():  # each launches what the block before them does
        before = f"{name}.{skipped.start - 1}"
        for some in found.values():
            some += [
                replace(one, at=f"{name}.{index}{one.at.removeprefix(before)}")
                for one in [*some]
                if one.at == before or one.at.startswith(f"{before}.")
                for index in skipped
            ]
    return found


def _left(timeline: Timeline) -> int:
    """Return bytes of the gradients that a step has made; a view holds all of its storage."""
    return sum(
        storage.bytes
        for storage in timeline.storages
        if storage.birth and storage.kind == "gradients"
    )


def _run(program: Program, reading: StepReading, workload: Workload, left: int) -> int:
    """Run a step that finds `left` bytes of gradients; return the forward pass's last instant."""
    eager = reading.eager
    timeline, element, tree = eager.timeline, BYTES[eager.weight_dtype], program.tree()
    timeline.there(Size(tree.total(Measure.PARAMS), "parameters") * element, "parameters")
    timeline.there(buffers(tree, element), "buffers")
    timeline.there(states(tree, workload, element, eager.departs), "optimizer")
    numbers = sum(size.value * times for size, times in trained(tree))
    whole = Size(numbers, "trained parameters") * element
    if workload.ddp != "none":
        timeline.there(whole, "gradients")
    if left:
        timeline.there(whole if left == whole.value else Size(left), "gradients")
    variables = {
        number: eager.hold(eager.input(shape, eager.weight_dtype))
        for number, shape in program.inputs.items()
    }
    eager.labels = eager.input((Size(workload.batch, "B"),), "int64")
    with eager.phase("forward"):
        reading.run(program.body, variables, "")
        reading.run(program.loss, variables, "")
        eager.leave_autocast()
    forward = timeline.now
    if not workload.inference:
        with eager.phase("backward"):
            eager.backward(variables[program.result])
        eager.drop(variables[program.result])
        timeline.at = workload.optimizer
        with eager.phase("optimizer"):
            step(eager, tree, workload, every=reading.every)
    return forward


def memory(
    model: Subject,
    workload: Workload,
    *,
    rules: Mapping[Work, Rule] = RULES,
    departures: Departures = EAGER,
) -> Memory:
    """Return the memory of a step of `model`; see `follow`."""
    reading, forward = follow(model, workload, rules=rules, departures=departures)
    timeline = reading.eager.timeline
    kept = _kept(timeline, forward)
    for name, skipped in reading.skipped.items():  # each saves what the block before them saves
        before = f"{name}.{skipped.start - 1}"
        own = [
            (path.removeprefix(before), size)
            for path, size in kept.items()
            if path == before or path.startswith(f"{before}.")
        ]
        kept |= {f"{name}.{index}{path}": size for index in skipped for path, size in own}
    return Memory(
        peaks=timeline.peaks(),
        kept=kept,
        kept_bytes=sum(size.value for size in kept.values()),
        timeline=timeline,
    )


def peaks(
    model: Subject,
    workload: Workload,
    *,
    rules: Mapping[Work, Rule] = RULES,
    departures: Departures = EAGER,
    platform: Platform | None = None,
) -> dict[str, int]:
    """Return the most bytes that a step of `model` holds at once, in each phase; see `follow`."""
    reading, _ = follow(
        model,
        workload,
        rules=rules,
        departures=departures,
        every=platform is not None,
        platform=platform,
    )
    return reading.eager.timeline.most()


def peak_bytes(model: Subject, workload: Workload, *, rules: Mapping[Work, Rule] = RULES) -> int:
    """Return the most bytes that a step of `model` holds at once."""
    return max(peaks(model, workload, rules=rules).values())


def _kept(timeline: Timeline, instant: int) -> dict[str, Size]:
    """Return bytes that followed blocks save after an instant, by path; equal sizes as products."""
    alike: dict[str, dict[str, list[Size]]] = {}
    for storage in timeline.storages:
        if storage.birth <= instant < storage.last and not storage.skipped:
            kind, at = storage.at_instant(instant + 1)
            if kind == "saved":
                size = storage.size
                alike.setdefault(at, {}).setdefault(size.formula, []).append(size)
    return {
        path: reduce(Size.__add__, (sizes[0] * len(sizes) for sizes in by_formula.values()))
        for path, by_formula in alike.items()
    }


def buffers(tree: Layer, element: int) -> Size:
    """Return bytes of buffers: also running statistics of batch norms, and their int64 counts."""
    own = {"float": 0, "int64": 0}
    for node in tree.walk(fold=True):
        if isinstance(node.item, Buffer):
            own[node.item.dtype] += product(node.item.axes).value * node.repeat
    norms = [
        (node.item, node.repeat)
        for node in tree.walk(fold=True)
        if isinstance(node.item, BatchNorm | TokenBatchNorm)
    ]
    numbers = own["float"] + sum(2 * norm.channels.value * times for norm, times in norms)
    whole = own["int64"] + sum(times for _, times in norms)
    return Size(numbers) * element + Size(whole) * BYTES["int64"]
