"""Curves of a sweep: its points and crossovers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from math import inf

from vitprof.report.quantities import QUANTITIES
from vitprof.values.options import Plain, label_of, pairs


class AxisScale(StrEnum):
    """Scale of an axis."""

    LINEAR = "linear"
    LOG = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Scales of the axes of charts and figures.

    Attributes:
        x: scale of the swept option; None to choose it by the values.
        y: scale of the measures; None to choose it by the values, for each of them.
    """

    x: AxisScale | None = None
    y: AxisScale | None = None


@dataclass(frozen=True, kw_only=True)
class Point:
    """One configuration of a sweep.

    Attributes:
        curve: name of the mixer or preset.
        at: values of the swept options, in their order.
        values: costs by measure: `params`, `macs`, `memory` in bytes, `batch` in images,
            `time` in seconds; None if there is no value.
        reason: reason for a missing value, "dim 100 is not divisible by 8 heads; ...".
        timing: of a measured time, `lower_quartile`, `median` and `upper_quartile` in seconds,
            `spread`, the interquartile range over the median, and the number of `samples`.
    """

    curve: str
    at: Mapping[str, Plain]
    values: Mapping[str, int | float | None]
    reason: str = ""
    timing: Mapping[str, float | int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Curve and values of the swept options: `attn, tokens 64`."""
        return f"{self.curve}, {pairs(self.at)}"

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """Lower and upper quartile of the time, in seconds; None if it was not measured."""
        if not self.timing:
            return None
        return self.timing["lower_quartile"], self.timing["upper_quartile"]


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """Value of an option from which on one curve is cheaper than another.

    Attributes:
        measure: compared cost.
        option: option along which the search went.
        cheaper: curve that is cheaper from this value on.
        than: curve that it is compared with.
        at: smallest value of a range in which it is cheaper; None if there is no such range.
        searched: smallest and largest value searched.
        fixed: values of the other swept options.
        value: cost of `cheaper` at this value; None if `at` is None.
    """

    measure: str
    option: str
    cheaper: str
    than: str
    at: int | None
    searched: tuple[int, int]
    fixed: Mapping[str, Plain]
    value: int | float | None


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Data of a chart of a sweep.

    Attributes:
        workload: settings of the step; empty if no measure depends on them.
        axes: values of the swept options, by name.
        units: units of options that have one, such as pixels or tokens.
        curves: names of the mixers or presets.
        measures: measures of each point, in order.
        points: points by curve, the last axis fastest; fewer if a sweep was interrupted.
        crossovers: values from which on one curve is cheaper than another.
        conditions: device, threads, spread to reach and other conditions of measured times.
    """

    workload: Mapping[str, Plain]
    axes: Mapping[str, tuple[Plain, ...]]
    units: Mapping[str, str] = field(default_factory=dict)
    curves: tuple[str, ...]
    measures: tuple[str, ...]
    points: tuple[Point, ...]
    crossovers: tuple[Crossover, ...]
    conditions: Mapping[str, Plain] = field(default_factory=dict)

    @property
    def bound(self) -> float:
        """Spread to reach, the interquartile range over the median; infinite if not measured."""
        spread = self.conditions.get("spread")
        return inf if spread is None else float(Fraction(spread))

    def settled(self, point: Point) -> bool:
        """Return True if the spread of a point's time is at most `bound`, or it has no time."""
        return not point.timing or point.timing["spread"] <= self.bound

    @property
    def unsettled(self) -> dict[str, float]:
        """Spreads above `bound`, by curve and values of the swept options."""
        return {
            point.name: point.timing["spread"] for point in self.points if not self.settled(point)
        }

    def label_of_measure(self, measure: str) -> str:
        """Return the title of a measure's table and axis."""
        if measure == "memory" and self.workload.get("inference"):
            return "peak memory of a forward pass"
        if measure == "gpu_time":
            return f"predicted time of a step on {self.workload['gpu']}"
        return QUANTITIES[measure].label

    def label_of_option(self, option: str) -> str:
        """Return the title of an option's axis, with the unit."""
        unit = self.units.get(option, option)
        return label_of(option) + ("" if unit == option else f" ({unit})")
