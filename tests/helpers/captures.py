"""Captures of modules at one size, and the readings that tools' conventions predict from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

from vitprof.captured.failures import explain
from vitprof.captured.fit import BATCH
from vitprof.captured.given import Given
from vitprof.captured.probe import _Probing
from vitprof.captured.source import Source
from vitprof.captured.template import Template
from vitprof.counters import TOOLS
from vitprof.counters.convention import Setting
from vitprof.counters.reading import Reading
from vitprof.counters.reconcile import Difference, reconcile_macs
from vitprof.formulas.layer import Layer, Measure, ancestors
from vitprof.formulas.op import Op

FUSED = "fused attention has no rule"


def captured(source: Source, batch: int = 1) -> Layer:
    """Return the tree of a module in eval mode, from a capture at this size and batch alone."""
    probing = _Probing(source, train=False)
    found = probing.sketch({BATCH: batch}, ())
    if isinstance(found, Exception):
        raise explain(source.reference, found) from found
    root = found.faster(probing.fast_paths()).folded()
    return Template(root, batch).layer({BATCH: batch})


def given(module: nn.Module, inputs: object) -> Layer:
    """Return the tree of a module in eval mode at the batch of its inputs, or 1."""
    source = Given(module, inputs)
    return captured(source, source.batch or 1)


def by_path(tree: Layer, measure: Measure) -> dict[str, int]:
    """Return the counts of modules, and of parameters that they hold, by path, other than 0."""
    counts: Counter[str] = Counter()
    for node in tree.walk(fold=False):
        if isinstance(node.item, Op):
            own = node.item.module or measure is Measure.PARAMS
            path = node.path if own else node.path.rpartition(".")[0]
            for above in ancestors(path):
                counts[above] += measure.of(node.item).value
    return {path: count for path, count in counts.items() if count}


def predicted(tree: Layer, tool: str, *, device: str = "meta") -> Difference:
    """Return the difference of a tool without a reading: its prediction and the causes."""
    convention = TOOLS[tool].convention(Setting(device=device))
    return reconcile_macs(tree, convention, Reading(total=0, by_path={}))


def reads(tree: Layer, tool: str, without: Sequence[str] = (), *, device: str = "meta") -> int:
    """Return the total that a tool says of a module, as its convention predicts it.

    Args:
        tree: the tree.
        tool: name of the tool.
        without: causes that are left out.
        device: device of the setting.
    """
    difference = predicted(tree, tool, device=device)
    return difference.predicted - sum(
        cause.amount for cause in difference.causes if cause.cause in without
    )
