"""Caption of a figure: the configuration, missing points and versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vitprof.formats.drawing.curves import option_along
from vitprof.text import visible
from vitprof.values.options import Plain, label_of, pairs

if TYPE_CHECKING:
    from vitprof.report.sweep import Sweep

_MOST_REASON = 120  # characters


def caption_of(sweep: Sweep, measures: Sequence[str], marked: bool) -> str:
    """Return the caption for panels of these measures; `marked` is True if rings are drawn."""
    return visible(" ".join(f"{sentence}." for sentence in _sentences(sweep, measures, marked)))


def _sentences(sweep: Sweep, measures: Sequence[str], marked: bool) -> Iterator[str]:
    timed = "time" in measures
    for values in (sweep.spec, sweep.workload, sweep.conditions if timed else {}):
        words = _words(values)
        if words:
            yield words[0].upper() + words[1:]
    for curve, own in sweep.own.items():
        if _words(own):
            yield f"Of {curve}: {_words(own)}"
    if marked:
        option = label_of(option_along(sweep.axes))
        yield (
            "Rings mark where two curves cross, and the number is the smallest value of "
            f"{option} at which one is below the other"
        )
    if timed and any(point.timing for point in sweep.points):
        yield "Upright lines reach from the lower to the upper quartile of the times"
    if timed and sweep.unsettled:
        yield (
            f"Crosses mark times that did not settle: {len(sweep.unsettled):,} of "
            f"{sum(bool(point.timing) for point in sweep.points):,} have an interquartile range "
            f"above {sweep.bound:.0%} of the median"
        )
    gaps = list(_gaps(sweep, measures))
    if gaps:
        yield f"Without a value: {'; '.join(gaps)}"
    if len(sweep.points) < sweep.size:
        yield f"Interrupted after {len(sweep.points):,} of {sweep.size:,} points"
    # Counts depend on vitprof alone, times on every installed package.
    names = sweep.versions if timed else {"vitprof": sweep.versions["vitprof"]}
    yield f"Made by {pairs(names)}"


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
