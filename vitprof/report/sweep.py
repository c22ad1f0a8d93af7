"""What configurations cost, over ranges of options, as plain data and in each format."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import StringIO
from math import prod
from typing import TYPE_CHECKING, Any, Self

from vitprof.options import Plain
from vitprof.report.sweep_to_parquet import sweep_to_parquet
from vitprof.report.to_json import SCHEMA

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions, RenderResult

_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """From where on one curve is cheaper than another.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What configurations cost, curve by curve.

    Attributes:
        spec: the model and every size that all points share.
        workload: how they would be trained or run; empty where nothing depends on it.
        versions: of every package that had a part in it.
        convention: what is counted, in a sentence.
        axes: the swept options and their values.
        units: what some of them count: pixels, tokens.
        curves: the names of the mixers or presets.
        measures: what is known of each point, in order.
        points: curve by curve, the last axis first; fewer where a sweep was interrupted.
        crossings: from where on one curve is cheaper than another.
        own: what one curve has besides the shared spec, by curve.
        conditions: device, threads and what else measured times depend on.
    """

    spec: Mapping[str, Plain]
    workload: Mapping[str, Plain]
    versions: Mapping[str, str]
    convention: str
    axes: Mapping[str, tuple[Plain, ...]]
    curves: tuple[str, ...]
    measures: tuple[str, ...]
    points: tuple[Point, ...]
    crossings: tuple[Crossing, ...]
    units: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Plain]] = field(default_factory=dict)
    conditions: Mapping[str, Plain] = field(default_factory=dict)

    @property
    def complaint(self) -> str:
        """Nothing of a sweep can fail to hold."""
        return ""

    @property
    def size(self) -> int:
        """How many points there are when all are done."""
        return len(self.curves) * prod(len(values) for values in self.axes.values())

    def to_json(self) -> str:
        """All of it for other programs; counts are exact integers."""
        document = {"schema": SCHEMA, "command": "sweep", **asdict(self)}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The sweep that `to_json` wrote.

        Raises:
            ValueError: the text is none.
        """
        document: Any = json.loads(text)
        if not isinstance(document, dict) or (
            (document.pop("schema", None), document.pop("command", None)) != (SCHEMA, "sweep")
        ):
            raise ValueError("no sweep")
        try:
            tuples = {name: tuple(document[name]) for name in ("curves", "measures")}
            axes = {name: tuple(values) for name, values in document["axes"].items()}
            points = tuple(Point(**point) for point in document["points"])
            crossings = tuple(
                Crossing(**{**crossing, "searched": tuple(crossing["searched"])})
                for crossing in document["crossings"]
            )
            return cls(
                **{**document, **tuples, "axes": axes, "points": points, "crossings": crossings}
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("no sweep") from error

    def header(self) -> list[str]:
        """The columns of a row: the curve, the axes, the measures with units, and a reason."""
        return ["curve", *self.axes, *(column(measure) for measure in self.measures), "reason"]

    def records(self) -> list[list[Plain | None]]:
        """A row a point, in the order of `header`."""
        return [
            [
                point.curve,
                *(point.at[name] for name in self.axes),
                *(point.values.get(measure) for measure in self.measures),
                point.reason,
            ]
            for point in self.points
        ]

    def to_csv(self) -> str:
        """A row a point; an empty cell is what there is not."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header())
        writer.writerows(self.records())
        return text.getvalue()

    def to_markdown(self) -> str:
        """A GitHub table of the points, then crossings and conditions as a list."""
        from vitprof.report.sweep_to_table import sweep_to_markdown

        return sweep_to_markdown(self)

    def to_frame(self) -> DataFrame:
        """A row a point as a pandas DataFrame.

        Counts are nullable integers; a column with a count beyond 64 bits holds Python's own.
        """
        import pandas

        frame = pandas.DataFrame(self.records(), columns=self.header(), dtype=object)
        return frame.astype({name: _dtype(list(frame[name])) for name in frame})

    def to_parquet(self) -> bytes:
        """A row a point as a Parquet file, with all else as JSON in its metadata.

        Counts beyond 64 bits are decimals of 76 digits, which are exact.
        """
        return sweep_to_parquet(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from vitprof.report.sweep_to_table import sweep_to_table

        yield from sweep_to_table(self, options.max_width)


def column(measure: str) -> str:
    """A measure's name with its unit, as a column is called."""
    return {"memory": "memory_bytes", "time": "time_seconds"}.get(measure, measure)


def _dtype(cells: list[Any]) -> str:
    given = [cell for cell in cells if cell is not None]
    if not all(type(cell) in (int, float) for cell in given):
        return "object"
    if any(isinstance(cell, float) for cell in given):
        return "Float64"
    return "Int64" if all(-_LARGEST <= cell <= _LARGEST for cell in given) else "object"
