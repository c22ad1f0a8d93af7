"""What stands below a figure: the configuration, and what cannot be seen in the curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vitprof.formats.drawing.curves import option_along
from vitprof.values.options import Plain, label_of, pairs

if TYPE_CHECKING:
    from vitprof.report.sweep import Sweep

_MOST_REASON = 120  # characters


def caption_of(sweep: Sweep, measures: Sequence[str], marked: bool) -> str:
    """The sentences below the panels of these measures; `marked` is whether rings are drawn."""
    return " ".join(f"{sentence}." for sentence in _sentences(sweep, measures, marked))


def _sentences(sweep: Sweep, measures: Sequence[str], marked: bool) -> Iterator[str]:
    timed = "time" in measures
    for values in (sweep.spec, sweep.workload, sweep.conditions if timed else {}):
        told = _told(values)
        if told:
            yield told[0].upper() + told[1:]
    for curve, own in sweep.own.items():
        if _told(own):
            yield f"Of {curve}: {_told(own)}"
    if marked:
        option = label_of(option_along(sweep.axes))
        yield (
            "Rings mark where two curves cross, and the number is the smallest value of "
            f"{option} at which one is below the other"
        )
    gaps = list(_gaps(sweep, measures))
    if gaps:
        yield f"Without a value: {'; '.join(gaps)}"
    if len(sweep.points) < sweep.size:
        yield f"Interrupted after {len(sweep.points):,} of {sweep.size:,} points"
    # Counts follow from the formulas alone; times depend on everything that is installed.
    names = sweep.versions if timed else {"vitprof": sweep.versions["vitprof"]}
    yield f"Made by {pairs(names)}"


def _told(values: Mapping[str, Plain]) -> str:
    """Names and values; of what is on the name alone, and nothing of what is off or 0."""
    on = (
        label_of(name) if value is True else pairs({name: value})
        for name, value in values.items()
        if value
    )
    return ", ".join(on)


def _gaps(sweep: Sweep, measures: Sequence[str]) -> Iterator[str]:
    """At how many points a curve is not drawn, and the first reason."""
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
