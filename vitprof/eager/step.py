"""The memory of a step on paper: forward pass, backward pass, optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

from vitprof.eager.account import Account, Entry, Peak
from vitprof.eager.optimizer import states, temporaries
from vitprof.eager.rules import RULES, Rule
from vitprof.eager.run import Eager
from vitprof.eager.tensor import BYTES
from vitprof.formulas.layer import Measure
from vitprof.formulas.op import BatchNorm, Buffer, TokenBatchNorm
from vitprof.formulas.size import Size, product

if TYPE_CHECKING:
    from vitprof.formulas.layer import Layer
    from vitprof.formulas.model import Model
    from vitprof.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a step holds at once.

    Attributes:
        peaks: the peak of each phase: forward, backward, optimizer.
        kept: what is kept for the backward pass when the forward pass is over, by the path
            of the op that keeps it; of equal blocks, that of the first and the last.
        kept_bytes: all of it, equal blocks too.
        held: what is held at the highest peak.
    """

    peaks: dict[str, Peak]
    kept: dict[str, Size]
    kept_bytes: int
    held: tuple[Entry, ...]

    @property
    def phase(self) -> str:
        """The phase with the highest peak."""
        return max(self.peaks, key=lambda phase: self.peaks[phase].bytes)

    @property
    def peak(self) -> Peak:
        """The highest peak."""
        return self.peaks[self.phase]


def memory(model: Model, workload: Workload, *, rules: Mapping[str, Rule] = RULES) -> Memory:
    """Follow a step of `model` on paper.

    Args:
        model: what is trained or run.
        workload: how.
        rules: what each op allocates and keeps, by its kind or its work.

    Raises:
        SpecError: an op has no rule.
    """
    first = _follow(model, workload, rules)
    return replace(first, held=_follow(model, workload, rules, first.peak.instant).held)


def peak_bytes(model: Model, workload: Workload, *, rules: Mapping[str, Rule] = RULES) -> int:
    """The most bytes that a step of `model` holds at once."""
    return _follow(model, workload, rules).peak.bytes


def _follow(
    model: Model, workload: Workload, rules: Mapping[str, Rule], instant: int | None = None
) -> Memory:
    account = Account(instant=instant)
    run = Eager(account, workload, rules)
    batch, element = Size(workload.batch, "B"), BYTES[run.weight_dtype]
    tree = model.formula(workload.batch)
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
    kept, kept_bytes = _kept(account), account.by_kind["saved"]
    if not workload.inference:
        with account.phase("backward"):
            run.backward(y)
        del y
        account.at = workload.optimizer
        with account.phase("optimizer"):
            account.allocate(temporaries(tree, workload, element))
    del there, labels
    return Memory(peaks=account.peaks, kept=kept, kept_bytes=kept_bytes, held=account.snapshot)


def _kept(account: Account) -> dict[str, Size]:
    """What is kept by path, alike tensors as a product."""
    alike: dict[str, dict[str, list[Size]]] = {}
    for entry in account.held.values():
        if entry.kind == "saved" and entry.at:
            alike.setdefault(entry.at, {}).setdefault(entry.size.formula, []).append(entry.size)
    return {
        path: reduce(Size.__add__, (sizes[0] * len(sizes) for sizes in by_formula.values()))
        for path, by_formula in alike.items()
    }


def buffers(tree: Layer, element: int) -> Size:
    """Bytes of buffers, of norms' running means and deviations and counts of batches, an int64."""
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
