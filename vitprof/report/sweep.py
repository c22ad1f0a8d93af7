"""Report of the costs of models over ranges of options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from math import prod
from typing import Any, Self

from vitprof.errors import SpecError
from vitprof.report.base import SCHEMA, Report
from vitprof.report.curves import Crossover, Curves, Point, Scales
from vitprof.report.document import (
    EVERY,
    Cell,
    Charts,
    Column,
    Document,
    Facts,
    Heading,
    Kind,
    Records,
    Row,
    Table,
)
from vitprof.report.quantities import QUANTITIES, counts_of, shown
from vitprof.report.unsettled import spreads
from vitprof.request.specs import described
from vitprof.values.amounts import Seconds
from vitprof.values.options import Plain, label_of, pairs

_NOTHING = "n/a"
_UNSETTLED = "*"  # beside quartiles
_TIMING = {  # columns of a row for programs, as `bench` names them, by name in a point's timing
    "lower_quartile_seconds": "lower_quartile",
    "upper_quartile_seconds": "upper_quartile",
    "spread": "spread",
    "samples": "samples",
}
_KEYS = (
    *("spec", "workload", "versions", "convention", "axes", "units", "curves", "measures"),
    *("points", "crossovers", "own", "conditions"),
)
_IN = {"params": "parameters", "macs": "MACs", "training_macs": "training MACs", "gpu_time": "time"}


@dataclass(frozen=True, kw_only=True)
class Sweep(Curves, Report):
    """Costs of models over ranges of options, curve by curve.

    Attributes:
        spec: options that all points share.
        versions: version of every package involved, by name.
        convention: sentence on what is counted.
        own: options of a curve besides the shared ones, by curve.
        charts: True if the document has a chart of each measure.
        scales: scales of the charts' axes.
    """

    command = "sweep"
    spec: Mapping[str, Plain]
    versions: Mapping[str, str]
    convention: str
    own: Mapping[str, Mapping[str, Plain]] = field(default_factory=dict)
    charts: bool = False
    scales: Scales = field(default_factory=Scales)

    @property
    def size(self) -> int:
        """Number of points of a complete sweep."""
        return len(self.curves) * prod(len(values) for values in self.axes.values())

    def data(self) -> dict[str, object]:
        document = asdict(self)
        if "time" in self.measures:
            return {**{name: document[name] for name in _KEYS}, "unsettled": self.unsettled}
        for point in document["points"]:
            del point["timing"]
        return {name: document[name] for name in _KEYS}

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a sweep that `to_json` wrote.

        Raises:
            ValueError: the text is not a sweep.
        """
        try:
            document: Any = json.loads(text)
        except RecursionError as error:
            raise ValueError("no sweep") from error
        if not isinstance(document, dict) or (
            (document.pop("schema", None), document.pop("command", None)) != (SCHEMA, "sweep")
        ):
            raise ValueError("no sweep")
        document.pop("unsettled", None)  # it follows from the points
        try:
            if not _is_sweep(document):
                raise ValueError("no sweep")
            tuples = {name: tuple(document[name]) for name in ("curves", "measures")}
            axes = {name: tuple(values) for name, values in document["axes"].items()}
            points = tuple(Point(**point) for point in document["points"])
            crossovers = tuple(
                Crossover(**{**crossover, "searched": tuple(crossover["searched"])})
                for crossover in document["crossovers"]
            )
            sweep = cls(
                **{**document, **tuples, "axes": axes, "points": points, "crossovers": crossovers}
            )
            if sweep.bound < 0:  # or no number
                raise ValueError("no sweep")
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ValueError("no sweep") from error
        return sweep

    def records(self) -> Records:
        """Return one row per point: curve, swept options, measures, timing and reason."""
        measures = (column(measure) for measure in self.measures)
        timing = _TIMING if "time" in self.measures else {}
        rows = (
            (
                point.curve,
                *(point.at[name] for name in self.axes),
                *(point.values.get(measure) for measure in self.measures),
                *(point.timing.get(name) for name in timing.values()),
                *([self.settled(point) if point.timing else None] if timing else []),
                point.reason,
            )
            for point in self.points
        )
        settled = ["settled"] if timing else []
        return Records(("curve", *self.axes, *measures, *timing, *settled, "reason"), tuple(rows))

    def to_figure(
        self,
        format: str = "svg",
        *,
        measures: Sequence[str] = (),
        size: str | None = None,
        caption: bool = True,
        x_scale: str | None = None,
        y_scale: str | None = None,
    ) -> bytes:
        """Return the file of a figure: a panel per measure, with a curve per mixer.

        Args:
            format: `svg`, `pdf`, `png`, or `html`, a page with the data too.
            measures: measures of the panels; empty for all.
            size: width and height without the caption, `3.3x2.5` in inches or `84x60mm`, or the
                width alone; None for a column of a paper a panel.
            caption: draw the caption; the metadata of the file have it in any case.
            x_scale: `linear` or `log`; None to choose it by the values.
            y_scale: `linear` or `log`; None to choose it by the values.

        Raises:
            SpecError: a setting is invalid, or there is nothing that can be drawn, or no room.
        """
        return self.figure(
            format,
            measures=measures,
            size=size,
            caption=caption,
            x_scale=x_scale,
            y_scale=y_scale,
        )

    def _repr_html_(self) -> str:
        """Return the report for a notebook, with its figure in place of text charts."""
        text = replace(self, charts=False).render("html")
        try:
            figure = self.to_figure("svg").decode()
        except SpecError:  # there is nothing to draw
            return text
        return f"{text}{figure[figure.index('<svg') :]}"

    def document(self) -> Document:
        over = " and ".join(label_of(name) for name in self.axes)
        shared = {name: value for name, value in self.spec.items() if value not in self.curves}
        title = f"{described(shared) or 'models'} over {over}: {', '.join(self.curves)}"
        tables = (self._table(measure) for measure in self.measures)
        charts = (Charts(self, self.scales),) if self.charts else ()
        return (Heading(title), *tables, *self._crossovers(), self.facts(), *charts)

    def _table(self, measure: str) -> Table:
        """Return the table of a measure: a row per combination of options, a column per curve."""
        keys = [Column(label_of(name), Kind.NUMBER, EVERY, key=True) for name in self.axes]
        timed = measure == "time"
        curves = []
        for part, curve in enumerate(self.curves):
            group, counts = part if timed else 0, counts_of(measure)
            curves.append(Column(curve, Kind.NUMBER, group, counts=counts))
            if timed:
                curves.append(Column("quartiles", Kind.TEXT, part, faint=True))
        points = {(one.curve, *one.at.values()): one for one in self.points}
        rows = []
        for place in product(*self.axes.values()):
            if not any((curve, *place) in points for curve in self.curves):
                continue
            cells: list[Cell] = [*place]
            for curve in self.curves:
                point = points.get((curve, *place))
                value = None if point is None else point.values.get(measure)
                cells.append(_NOTHING if value is None else shown(value, measure))
                if timed:
                    cells.append(None if point is None else self._quartiles(point))
            rows.append(Row(tuple(cells)))
        return Table((*keys, *curves), tuple(rows), title=self.label_of_measure(measure))

    def _quartiles(self, point: Point) -> str | None:
        """Return both quartiles of a time, marked if it did not settle; None without a time."""
        if point.quartiles is None:
            return None
        lower, upper = map(Seconds, point.quartiles)
        return f"{lower} to {upper}{'' if self.settled(point) else f' {_UNSETTLED}'}"

    def _crossovers(self) -> Iterator[Table]:
        """Yield the table of crossovers, if any: a row per pair of curves, a column per measure."""
        found: dict[tuple[Cell, ...], dict[str, list[str]]] = {}
        for crossover in self.crossovers:
            if crossover.at is not None:
                fixed = crossover.fixed.values()
                starts = found.setdefault((crossover.cheaper, crossover.than, *fixed), {})
                first = "the first, " if crossover.at == crossover.searched[0] else ""
                starts.setdefault(crossover.measure, []).append(f"{first}{crossover.at:,}")
        if not found:
            return
        measures = list(dict.fromkeys(crossover.measure for crossover in self.crossovers))
        option = label_of(self.crossovers[0].option)
        columns = [Column("cheaper", part=EVERY, key=True), Column("than", part=EVERY, key=True)]
        columns += [
            Column(label_of(name), Kind.NUMBER, EVERY, key=True)
            for name in self.crossovers[0].fixed
        ]
        columns += [
            Column(f"in {_IN.get(measure, measure)} from {option}", Kind.NUMBER)
            for measure in measures
        ]
        rows = [
            Row((*pair, *(", ".join(starts.get(measure, ["nowhere"])) for measure in measures)))
            for pair, starts in found.items()
        ]
        yield Table(tuple(columns), tuple(rows))

    def facts(self) -> Facts:
        """Return the missing points and the conditions, as named lines."""
        lines = dict(self._gaps())
        if len(self.points) < self.size:
            lines["interrupted"] = f"after {len(self.points):,} of {self.size:,} points"
        if self.unsettled:
            lines["unsettled"] = f"{_UNSETTLED} {spreads(self.unsettled)}"
        conditions = {"spec": pairs(self.spec)}
        conditions |= {curve: pairs(own) for curve, own in self.own.items() if own}
        for name, values in (("workload", self.workload), ("conditions", self.conditions)):
            if values:
                conditions[name] = pairs(values)
        conditions |= {"versions": pairs(self.versions), "convention": self.convention}
        return Facts(lines | conditions, conditions)

    def _gaps(self) -> Iterator[tuple[str, str]]:
        for curve in self.curves:
            points = [point for point in self.points if point.curve == curve]
            reasons = [point.reason for point in points if point.reason]
            if reasons:
                missing = f"at {len(reasons)} of {len(points)} points"
                yield f"{curve}, {_NOTHING}", f"{missing}: {reasons[0]}"


_TYPES: dict[str, Any] = {  # of a document; a list or a mapping of one type has it alone
    **{
        "spec": {str: Plain},
        "own": {str: {str: Plain}},
        "axes": {str: [Plain]},
        "units": {str: str},
    },
    **{"workload": {str: Plain}, "conditions": {str: Plain}, "versions": {str: str}},
    **{"convention": str, "curves": [str], "measures": [str]},
}
_POINT: dict[str, Any] = {
    **{"curve": str, "at": {str: Plain}, "values": {str: int | float | None}, "reason": str},
}
_OF_CROSSOVER: dict[str, Any] = {
    **dict.fromkeys(("measure", "option", "cheaper", "than"), str),
    **{"at": int | None, "searched": [int], "fixed": {str: Plain}, "value": int | float | None},
}
_OF_TIMING = dict.fromkeys(("lower_quartile", "median", "upper_quartile", "spread"), int | float)


def _is(value: object, wanted: Any) -> bool:
    """True if a part of a document has the types that are wanted."""
    if isinstance(wanted, list):
        return isinstance(value, list) and all(_is(one, wanted[0]) for one in value)
    if isinstance(wanted, dict) and [*wanted] == [str]:
        return isinstance(value, dict) and all(_is(one, wanted[str]) for one in value.values())
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(_is(value[name], wanted[name]) for name in wanted)
    return isinstance(value, wanted)


def _is_sweep(document: Mapping[str, Any]) -> bool:
    """True if the parts of a document have the types of those of a sweep, and fit one another."""
    points, crossovers = document["points"], document["crossovers"]
    if not (_is(document, _TYPES) and _is(points, [_POINT]) and _is(crossovers, [_OF_CROSSOVER])):
        return False
    axes, curves, measures = document["axes"], document["curves"], document["measures"]
    timed = [point["timing"] for point in points if point.get("timing", {}) != {}]
    return (
        all([*axes.values(), curves, measures])
        and {*measures} <= QUANTITIES.keys()
        and all(point["curve"] in curves for point in points)
        and all(point["at"].keys() == axes.keys() for point in points)
        and all(point["values"].keys() <= {*measures} for point in points)
        and all(one["measure"] in measures for one in crossovers)
        and all(one["fixed"].keys() <= axes.keys() for one in crossovers)
        and all(len(one["searched"]) == 2 for one in crossovers)
        and _is(timed, [_OF_TIMING])
    )


def column(measure: str) -> str:
    """Return the column name of a measure, with its unit."""
    units = {"memory": "bytes", "time": "seconds", "gpu_time": "seconds"}
    return f"{measure}_{units[measure]}" if measure in units else measure
