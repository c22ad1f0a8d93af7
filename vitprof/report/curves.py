"""Curves of a sweep: its points, and where the curves cross."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vitprof.report.quantities import QUANTITIES
from vitprof.values.options import Plain, label_of


@dataclass(frozen=True, kw_only=True)
class Point:
    """One configuration.

    Attributes:
        curve: the mixer's or preset's name.
        at: the swept options' values, in their order.
        values: by measure: `params` and `macs`, `memory` in bytes, `batch` in images, `time`
            in seconds; None where there is none.
        reason: why there is none: "dim 100 is not divisible by 8 heads; ...".
    """

    curve: str
    at: Mapping[str, Plain]
    values: Mapping[str, int | float | None]
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """Value of an option from which on one curve is cheaper than another.

    Attributes:
        measure: in what.
        option: along which.
        cheaper: the curve that is cheaper from there on.
        than: the one that it is cheaper than.
        at: the smallest value at which it is cheaper and was not just below; None where it
            is nowhere in the range.
        searched: the ends of the range.
        fixed: the values of the other swept options.
        value: what `cheaper` costs there; None where it is nowhere.
    """

    measure: str
    option: str
    cheaper: str
    than: str
    at: int | None
    searched: tuple[int, int]
    fixed: Mapping[str, Plain]
    value: int | None


@dataclass(frozen=True, kw_only=True)
class Curves:
    """All that a chart of a sweep shows.

    Attributes:
        workload: how the models would be trained or run; empty if nothing depends on it.
        axes: the swept options and their values.
        units: what some of them count: pixels, tokens.
        curves: names of the mixers or presets.
        measures: what is known of each point, in order.
        points: curve by curve, the last axis first; fewer if a sweep was interrupted.
        crossovers: values from which on one curve is cheaper than another.
    """

    workload: Mapping[str, Plain]
    axes: Mapping[str, tuple[Plain, ...]]
    units: Mapping[str, str] = field(default_factory=dict)
    curves: tuple[str, ...]
    measures: tuple[str, ...]
    points: tuple[Point, ...]
    crossovers: tuple[Crossover, ...]

    def label_of_measure(self, measure: str) -> str:
        """What a table and an axis of a measure are called."""
        if measure == "memory" and self.workload.get("inference"):
            return "peak memory of a forward pass"
        return QUANTITIES[measure].label

    def label_of_option(self, option: str) -> str:
        """What the axis of an option is called, with the unit."""
        unit = self.units.get(option, option)
        return label_of(option) + ("" if unit == option else f" ({unit})")
