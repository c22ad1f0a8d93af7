"""Caption of a figure: the configuration, crossovers, missing points and versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from vitprof.errors import listing
from vitprof.formats.drawing.curves import Crossing, Curve, crossings_of, option_along
from vitprof.formats.drawing.scale import show_value
from vitprof.report.curves import AxisScale, Scales
from vitprof.text import visible
from vitprof.values.options import Plain, label_of, pairs

if TYPE_CHECKING:
    from vitprof.report.sweep import Sweep

_MOST_REASON = 120  # characters
_MOST_CROSSINGS = 40  # named in a caption


def caption_of(
    sweep: Sweep, curves: Mapping[str, Sequence[Curve]], scales: Scales | None = None
) -> str:
    """Return the caption for a panel per measure with these curves."""
    sentences = _sentences(sweep, curves, scales or Scales())
    return visible(" ".join(f"{sentence}." for sentence in sentences))


def _sentences(
    sweep: Sweep, curves: Mapping[str, Sequence[Curve]], scales: Scales
) -> Iterator[str]:
    measures = [*curves]
    timed = "time" in measures
    for values in (sweep.spec, sweep.workload, sweep.conditions if timed else {}):
        words = _words(values)
        if words:
            yield words[0].upper() + words[1:]
    for curve, own in sweep.own.items():
        if _words(own):
            yield f"Of {curve}: {_words(own)}"
    yield from _crossovers(sweep, curves)
    if timed and any(point.timing for point in sweep.points):
        yield "Upright lines reach from the lower to the upper quartile of the times"
    if timed and sweep.unsettled:
        yield (
            f"Crosses mark times that did not settle: {len(sweep.unsettled):,} of "
            f"{sum(bool(point.timing) for point in sweep.points):,} have an interquartile range "
            f"above {sweep.bound:.0%} of the median"
        )
    if scales.y is AxisScale.LOG:
        yield from _zeros(sweep, measures)
    gaps = list(_gaps(sweep, measures))
    if gaps:
        yield f"Without a value: {'; '.join(gaps)}"
    if len(sweep.points) < sweep.size:
        yield f"Interrupted after {len(sweep.points):,} of {sweep.size:,} points"
    # Counts depend on vitprof alone, times on every installed package.
    names = sweep.versions if timed else {"vitprof": sweep.versions["vitprof"]}
    yield f"Made by {pairs(names)}"


def _crossovers(sweep: Sweep, curves: Mapping[str, Sequence[Curve]]) -> Iterator[str]:
    """Yield what the rings mark, and each crossover of each measure, if there are any."""
    left, named = _MOST_CROSSINGS, []
    for measure, drawn in curves.items():
        found = sorted(crossing for curve in drawn for crossing in crossings_of(curve))
        if found:
            named.append((measure, found[:left], len(found) - len(found[:left])))
            left -= len(found[:left])
    if not named:
        return
    option = label_of(option_along(sweep.axes))
    several = any(len(found) > 1 for _, found, _ in named)
    joined = "; rings that would overlap are one, with the first and the last number"
    yield (
        f"Rings mark where two curves cross, and the number is the smallest value of {option} at "
        f"which one is below the other{joined if several else ''}"
    )
    for measure, found, more in named:
        told = [*_places(found), *([f"{more:,} more"] if more else [])]
        label = sweep.label_of_measure(measure)
        yield f"{label[0].upper()}{label[1:]}: {'; '.join(told)}"


def _places(found: Iterable[Crossing]) -> Iterator[str]:
    """Yield the curves that come to lie below others, by number: `17: a and b below c`."""
    for at, those in groupby(found, key=lambda crossing: crossing.at):
        below: dict[str, list[str]] = {}
        for crossing in those:
            below.setdefault(crossing.than, []).append(crossing.below)
        pairs = (f"{listing(names, 'and')} below {than}" for than, names in below.items())
        yield f"{show_value(at)}: {', '.join(pairs)}"


def _zeros(sweep: Sweep, measures: Sequence[str]) -> Iterator[str]:
    """Yield what a logarithmic scale cannot show."""
    hidden = {
        curve: sum(
            point.curve == curve and any(point.values.get(measure) == 0 for measure in measures)
            for point in sweep.points
        )
        for curve in sweep.curves
    }
    told = [f"{curve} at {number:,}" for curve, number in hidden.items() if number]
    if told:
        yield f"Points of value 0, which a logarithmic scale cannot show: {', '.join(told)}"


def _words(values: Mapping[str, Plain]) -> str:
    """Return names and values; only the name of a set flag, and nothing if off, 0 or empty."""
    on = (
        label_of(name) if value is True else pairs({name: value})
        for name, value in values.items()
        if value
    )
    return ", ".join(on)


def _gaps(sweep: Sweep, measures: Sequence[str]) -> Iterator[str]:
    """Yield the number of missing points of each curve, with the first reason."""
    for curve in sweep.curves:
        points = [point for point in sweep.points if point.curve == curve]
        empty = [
            point
            for point in points
            if any(point.values.get(measure) is None for measure in measures)
        ]
        if empty:
            reason = empty[0].reason.partition(";")[0]
            if len(reason) > _MOST_REASON:
                reason = f"{reason[: _MOST_REASON - 3]}..."
            because = f" ({reason})" if reason else ""
            yield f"{curve} at {len(empty)} of {len(points)} points{because}"
