"""Readings of a model by every tool, checks of them, and conventions with an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import vitprof
from vitprof.counters import TOOLS
from vitprof.counters.convention import Causes, Convention, Rule, Setting
from vitprof.counters.read import read_macs
from vitprof.formulas.layer import Layer
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op
from vitprof.formulas.work import Work
from vitprof.report.counts import Counts


def macs(spec: Model, batch: int, setting: Setting, counters: Iterable[str] = TOOLS) -> Counts:
    modes: Any = {"device": setting.device, "train": setting.train, "grad": setting.grad}
    return vitprof.macs(spec, batch=batch, counters=counters, **modes)


def ops(tree: Layer) -> list[Op]:
    return [node.item for node in tree.walk(fold=True) if isinstance(node.item, Op)]


def check_adds_up(report: Counts, counters: Iterable[str] = TOOLS) -> None:
    """Assert that every tool has a reading, and that its causes explain the difference."""
    assert report.unavailable == {}
    assert report.differences.keys() == report.counters.keys() == set(counters)
    for tool, difference in report.differences.items():
        assert (difference.unexplained, difference.mismatches) == (0, ()), tool
        assert difference.explained
        assert difference.count == report.total
        assert difference.reading == report.counters[tool]
        amounts = {cause.cause: cause.amount for cause in difference.causes}
        assert sum(amounts.values()) == difference.reading - difference.count
        assert len(amounts) == len(difference.causes)
        assert all(amounts.values())
        assert amounts == {cause.cause: sum(cause.paths.values()) for cause in difference.causes}
    assert report.explained


@cache
def read(spec: Model, setting: Setting) -> Mapping[str, object]:
    """Return each tool's MACs of a forward pass on three images."""
    return read_macs(TOOLS.values(), spec, 3, setting, force=False, say=lambda message: None)


def more_by_one(convention: Convention, op: Op) -> Causes:
    return {**convention.causes(op), "one more": 1}


def without(cause: str, convention: Convention, op: Op) -> Causes:
    return {name: amount for name, amount in convention.causes(op).items() if name != cause}


def broken(tree: Layer, convention: Convention) -> Iterator[tuple[Work, str, Convention]]:
    """Yield conventions with one wrong coefficient: (kind of op, cause left out or none, broken).

    A kind without a rule is counted by its MACs, which is a coefficient too.
    """
    for kind in {op.work for op in ops(tree)}:
        yield kind, "", replaced(convention, kind, partial(more_by_one, convention))
    for kind, cause in {(op.work, cause) for op in ops(tree) for cause in convention.causes(op)}:
        yield kind, cause, replaced(convention, kind, partial(without, cause, convention))


def replaced(convention: Convention, kind: Work, rule: Rule) -> Convention:
    return Convention({**convention.rules, kind: rule})
