"""The memory of a step on paper: forward pass, backward pass, optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitprof.formulas.layer import Measure
from vitprof.formulas.op import BatchNorm
from vitprof.formulas.size import Size
from vitprof.memory.account import Account, Peak
from vitprof.memory.eager import Eager
from vitprof.memory.optimizer import states, temporaries
from vitprof.memory.tensor import BYTES

if TYPE_CHECKING:
    from vitprof.formulas.layer import Layer
    from vitprof.formulas.model import Model
    from vitprof.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a step holds at once.

    Attributes:
        peaks: the peak of each phase: forward, backward, optimizer.
        saved: what each layer keeps for the backward pass, by path.
        snapshot: what is held at the highest peak: (kind, path, bytes).
    """

    peaks: dict[str, Peak]
    saved: dict[str, list[Size]]
    snapshot: list[tuple[str, str, Size]]

    @property
    def phase(self) -> str:
        """The phase with the highest peak."""
        return max(self.peaks, key=lambda phase: self.peaks[phase].bytes)

    @property
    def peak(self) -> Peak:
        """The highest peak."""
        return self.peaks[self.phase]


def memory(model: Model, workload: Workload, *, instant: int | None = None) -> Memory:
    """Follow a step of `model` on paper."""
    account = Account(instant=instant)
    run = Eager(account, workload)
    batch = Size(workload.batch, "B")
    tree = model.formula(workload.batch)
    element = BYTES[run.weight_dtype]
    there = [
        account.hold(Size(tree.total(Measure.PARAMS), "parameters") * element, "parameters"),
        account.hold(buffers(tree, element), "buffers"),
        account.hold(states(tree, workload, element), "optimizer"),
    ]
    x = run.input(model.input(batch), run.weight_dtype)
    labels = run.input((batch,), "int64")
    with account.phase("forward"):
        y = model.loss(run, model.forward(run, x, batch), batch)
        run.leave_autocast()
    saved: dict[str, list[Size]] = {}
    for entry in account.held.values():
        if entry.kind == "saved":
            saved.setdefault(entry.at, []).append(entry.size)
    if not workload.inference:
        with account.phase("backward"):
            run.backward(y)
        del y
        with account.phase("optimizer"):
            account.at = workload.optimizer
            account.allocate(temporaries(tree, workload, element))
    del there, labels
    return Memory(peaks=account.peaks, saved=saved, snapshot=account.snapshot)


def buffers(tree: Layer, element: int) -> Size:
    """Bytes of running means and deviations, and of the count of batches, an int64."""
    norms = [
        (node.item, node.repeat)
        for node in tree.walk(fold=True)
        if isinstance(node.item, BatchNorm)
    ]
    numbers = sum(2 * norm.channels.value * times for norm, times in norms)
    return Size(numbers) * element + Size(sum(times for _, times in norms)) * BYTES["int64"]
