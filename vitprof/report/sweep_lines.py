"""The words and cells of a sweep, the same in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

from vitprof.bytes import show_bytes
from vitprof.drawing.curves import unit_of
from vitprof.options import Plain, label_of, pairs

if TYPE_CHECKING:
    from vitprof.report.sweep import Sweep

NOTHING = "n/a"
_IN = {"params": "parameters", "macs": "MACs"}


def title(sweep: Sweep) -> str:
    """What is swept, in a line."""
    model = sweep.spec.get("model", "models")
    over = " and ".join(label_of(name) for name in sweep.axes)
    return f"{model} over {over}: {', '.join(sweep.curves)}"


def table(sweep: Sweep, measure: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one measure: a row a combination of the axes, a column a curve."""
    header = [*(label_of(name) for name in sweep.axes), *sweep.curves]
    values = {
        (point.curve, *point.at.values()): point.values.get(measure) for point in sweep.points
    }
    rows = [
        [
            *(_at(value) for value in place),
            *(_cell(values.get((curve, *place)), measure) for curve in sweep.curves),
        ]
        for place in product(*sweep.axes.values())
        if any((curve, *place) in values for curve in sweep.curves)
    ]
    return header, rows


def crossings(sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    """Header and rows of crossovers: a row a pair of curves, where one is cheaper, a column a
    measure, with the values from which on it is."""
    found: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for crossing in sweep.crossings:
        if crossing.at is not None:
            fixed = map(_at, crossing.fixed.values())
            starts = found.setdefault((crossing.cheaper, crossing.than, *fixed), {})
            first = "the first, " if crossing.at == crossing.searched[0] else ""
            starts.setdefault(crossing.measure, []).append(f"{first}{_at(crossing.at)}")
    if not found:
        return [], []
    measures = list(dict.fromkeys(crossing.measure for crossing in sweep.crossings))
    option = label_of(sweep.crossings[0].option)
    others = [label_of(name) for name in sweep.crossings[0].fixed]
    header = ["cheaper", "than", *others]
    header += [f"in {_IN.get(measure, measure)} from {option}" for measure in measures]
    rows = [
        [*pair, *(", ".join(starts.get(measure, ["nowhere"])) for measure in measures)]
        for pair, starts in found.items()
    ]
    return header, rows


def facts(sweep: Sweep) -> dict[str, str]:
    """What stands below the tables: what is not there, and the conditions."""
    lines: dict[str, str] = {}
    lines |= dict(_gaps(sweep))
    if len(sweep.points) < sweep.size:
        lines["interrupted"] = f"after {len(sweep.points):,} of {sweep.size:,} points"
    lines["spec"] = pairs(sweep.spec)
    lines |= {curve: pairs(own) for curve, own in sweep.own.items() if own}
    for name, values in (("workload", sweep.workload), ("conditions", sweep.conditions)):
        if values:
            lines[name] = pairs(values)
    return {**lines, "versions": pairs(sweep.versions), "convention": sweep.convention}


def _gaps(sweep: Sweep) -> Iterator[tuple[str, str]]:
    for curve in sweep.curves:
        points = [point for point in sweep.points if point.curve == curve]
        reasons = [point.reason for point in points if point.reason]
        if reasons:
            yield f"{curve}, {NOTHING}", f"at {len(reasons)} of {len(points)} points: {reasons[0]}"


def _at(value: Plain) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cell(value: float | None, measure: str) -> str:
    if value is None:
        return NOTHING
    if measure == "memory":
        return show_bytes(int(value))
    return f"{value:,}" if isinstance(value, int) else unit_of(measure).show(value)
