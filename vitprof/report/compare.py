"""Report of the costs of several models, and of the crossovers between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from vitprof.errors import listing
from vitprof.measuring.timing import Timing
from vitprof.report.base import Report
from vitprof.report.document import (
    EVERY,
    Cell,
    Column,
    Document,
    Element,
    Facts,
    Heading,
    Kind,
    Label,
    Records,
    Row,
    Sentence,
    Table,
)
from vitprof.report.quantities import QUANTITIES, counts_of, shown
from vitprof.report.unsettled import spreads
from vitprof.request.budget import Budget, budget_record
from vitprof.request.specs import described
from vitprof.values.amounts import Times
from vitprof.values.options import Plain, Value, label_of, pairs, plain

_SHOWN = 3  # stretches listed in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the compared models.

    Attributes:
        name: name of the model.
        spec: model, mixer, and every size.
        amounts: costs by measure: `params`, `macs`, `training_macs`, `memory` in bytes, `batch` in
            images, `time` in seconds.
        ratios: each amount relative to the first model's; None if that is 0.
        timing: measured seconds of a step; None if not measured.
    """

    name: str
    spec: Mapping[str, Value]
    amounts: Mapping[str, int | float]
    ratios: Mapping[str, float | None]
    timing: Timing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCosts:
    """A layer whose costs differ between the models.

    Attributes:
        path: path of the layer, equal layers folded.
        counts: counts by measure, `params`, `macs` and `training_macs`, then by model; None if the
            model does not have the layer.
    """

    path: str
    counts: Mapping[str, Mapping[str, int | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostedStretch:
    """A range of sizes in which one model is cheaper.

    Attributes:
        first: smallest size.
        last: largest size.
        cost: cost of the cheaper model at the smallest size.
        other: cost of the other model there.
    """

    first: int
    last: int
    cost: int
    other: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """Sizes at which a model is cheaper than the first model.

    Attributes:
        name: name of the model.
        than: name of the first model.
        measure: compared cost: `params`, `macs`, `training_macs` or `memory`.
        option: option along which the search went.
        unit: unit of the option, such as tokens or pixels.
        first: smallest value searched, at which both models are defined.
        last: largest value searched.
        squares: True if only square numbers were searched, since a mixer needs a grid.
        step: number whose multiples were searched, since it has to divide the tokens.
        cheaper: ranges in which the model costs less.
        dearer: ranges in which it costs more; elsewhere both cost the same.
    """

    name: str
    than: str
    measure: str
    option: str
    unit: str
    first: int
    last: int
    squares: bool
    step: int
    cheaper: tuple[CostedStretch, ...]
    dearer: tuple[CostedStretch, ...]

    @property
    def sizes(self) -> str:
        """The sizes that were searched, if they are not all from first to last."""
        if self.squares:
            divided = f" that {self.step:,} divides" if self.step > 1 else ""
            return f"square numbers of tokens{divided}, which form a grid"
        return f"multiples of {self.step:,} tokens" if self.step > 1 else ""

    @property
    def sentence(self) -> str:
        """The crossovers in one sentence."""
        pair, what = f"{self.name} is {{}} than {self.than}", QUANTITIES[self.measure].title
        everywhere = f"from {self._said(f'{self.first:,}', f'{self.last:,}')}"
        if not self.cheaper and not self.dearer:
            return f"{self.name} costs the same as {self.than} in {what}, {everywhere}"
        if not self.cheaper:
            where = self._where(self.dearer)
            if self._is_everywhere(self.dearer[0]):
                against = self._against(self.dearer[0], turned=True)
                return f"{pair.format('dearer')} in {what} {where} ({against})"
            return f"{pair.format('nowhere cheaper')} in {what}, {everywhere}, and dearer {where}"
        cheaper = f"{pair.format('cheaper')} in {what} {self._where(self.cheaper)}"
        if self.cheaper[-1].last == self.last:
            return f"{cheaper} ({self._against(self.cheaper[-1])})"
        if not self.dearer:
            return f"{cheaper}, and nowhere dearer"
        dearer = f"{cheaper}; {self.than} is {self._where(self.dearer)}"
        against = self._against(self.dearer[-1])
        return f"{dearer} ({against})" if self.dearer[-1].last == self.last else dearer

    def _is_everywhere(self, span: CostedStretch) -> bool:
        return (span.first, span.last) == (self.first, self.last)

    def _where(self, spans: tuple[CostedStretch, ...]) -> str:
        """Return the ranges in words; only the first and last of many."""
        if len(spans) <= _SHOWN:
            return listing(map(self._one, spans), "and")
        between = f"in {len(spans) - 2} stretches after that"
        return listing([self._one(spans[0]), between, self._one(spans[-1])], "and")

    def _one(self, span: CostedStretch) -> str:
        first, last = f"{span.first:,}", f"{span.last:,}"
        if self._is_everywhere(span):
            return f"everywhere, from {self._said(first, last)}"
        if first == last:
            return f"at {self._said(first)}"
        if span.last == self.last:
            return f"from {self._said(first)} on"
        if span.first == self.first:
            return f"up to {self._said(last)}"
        return f"from {self._said(first, last)}"

    def _said(self, *ends: str) -> str:
        """Return values with their option, such as `402 tokens` or `image size 64`."""
        values, label = " to ".join(ends), label_of(self.option)
        return f"{values} {label}" if self.unit == self.option else f"{label} {values}"

    def _against(self, span: CostedStretch, *, turned: bool = False) -> str:
        unit = " bytes" if self.measure == "memory" else ""
        place = f" at {span.first:,}" if span.first == self.first else ""
        costs = (span.other, span.cost) if turned else (span.cost, span.other)
        return f"{costs[0]:,} against {costs[1]:,}{unit}{place}"

    def record(self) -> dict[str, object]:
        """Return all fields by name, with the sentence."""
        return {**asdict(self), "sentence": self.sentence}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Report):
    """Comparison of several models.

    Attributes:
        spec: options that all models share.
        workload: settings of the step.
        conditions: device, threads and other conditions of measured times.
        versions: version of every package involved, by name.
        convention: sentence on what is counted.
        protocol: sentence on how times were measured; empty if they were not.
        bound: spread to reach, the interquartile range over the median.
        budget: memory, or GPU, of the largest batch; None without one.
        measures: compared measures, in order.
        sides: the models; the first is the baseline.
        layers: layers whose costs differ; empty if not requested.
        crossovers: crossovers of each model with the first, by measure.
        unsearched: reasons for a search that was not done, by model.
    """

    command = "compare"
    spec: Mapping[str, Value]
    workload: Mapping[str, Value]
    conditions: Mapping[str, str]
    versions: Mapping[str, str]
    convention: str
    protocol: str
    bound: float
    budget: Budget | None
    measures: tuple[str, ...]
    sides: tuple[Side, ...]
    layers: tuple[LayerCosts, ...]
    crossovers: tuple[Crossover, ...]
    unsearched: Mapping[str, str]

    @property
    def unsettled(self) -> dict[str, float]:
        """Spreads of times above `bound`, by model."""
        spreads = {side.name: side.timing.spread for side in self.sides if side.timing}
        return {name: spread for name, spread in spreads.items() if spread > self.bound}

    def own(self, side: Side) -> dict[str, Value]:
        """Return the options of a model that are not shared by all."""
        return {name: value for name, value in side.spec.items() if name not in self.spec}

    def document(self) -> Document:
        names = listing((side.name for side in self.sides), "and")
        shared = described(self.spec)
        inside = f" in {shared}" if shared else ""
        title = Heading(f"Comparison of {names}{inside}, batch {self.workload['batch']}")
        sentences = [Sentence(one.sentence) for one in self.crossovers]
        return (title, self._amounts(), *self._layers(), *sentences, self._facts())

    def _amounts(self) -> Table:
        columns = [Column("", part=EVERY, key=True)]
        for part, measure in enumerate(self.measures):
            title = QUANTITIES[measure].title
            if measure == "batch" and self.budget is not None:
                title += f" {self.budget.title}"
            columns.append(Column(title, Kind.NUMBER, part, counts=counts_of(measure)))
            columns.append(Column("", Kind.NUMBER, part, faint=True))
        rows = []
        for side in self.sides:
            cells: list[Cell] = [side.name]
            for measure in self.measures:
                ratio = None if side is self.sides[0] else side.ratios[measure]
                cells.append(shown(side.amounts[measure], measure))
                cells.append(None if ratio is None else Times(ratio))
            rows.append(Row(tuple(cells)))
        return Table(tuple(columns), tuple(rows))

    def _layers(self) -> Iterator[Element]:
        """Yield a table of the layers that differ for each measure."""
        for measure in self.layers[0].counts if self.layers else ():
            title = f"{QUANTITIES[measure].title} that differ"
            columns = [Column(title, part=EVERY, key=True)]
            counts = counts_of(measure)
            columns += [Column(side.name, Kind.NUMBER, counts=counts) for side in self.sides]
            yield Table(tuple(columns), tuple(self._layer_rows(measure)))

    def _layer_rows(self, measure: str) -> Iterator[Row]:
        above: list[str] = []
        for layer in self.layers:
            counts = [*layer.counts[measure].values()]
            if len({*counts}) == 1:
                continue
            while above and not layer.path.startswith(f"{above[-1]}."):
                above.pop()
            name = layer.path.removeprefix(f"{above[-1]}." if above else "")
            yield Row((Label(name, layer.path, len(above)), *counts))
            above.append(layer.path)

    def _facts(self) -> Facts:
        """Return the conditions of the amounts, as named lines."""
        own = {side.name: pairs(self.own(side)) for side in self.sides}
        lines = {"ratios": f"× is over {self.sides[0].name}", "spec": pairs(self.spec)}
        lines |= {name: text for name, text in own.items() if text and text != f"mixer {name}"}
        lines["workload"] = pairs(self.workload)
        if self.protocol:
            lines |= {"conditions": pairs(self.conditions), "protocol": self.protocol}
        if self.unsettled:
            lines["unsettled"] = spreads(self.unsettled)
        lines |= {f"{name}, no crossover": why for name, why in self.unsearched.items()}
        names: dict[str, dict[str, None]] = {}
        for one in self.crossovers:
            names.setdefault(one.sizes, {})[one.name] = None
        only = [f"of {listing(own, 'and')} only at {at}" for at, own in names.items() if at]
        if only:
            lines["crossovers"] = "; ".join(only)
        lines |= {"versions": pairs(self.versions), "convention": self.convention}
        settings = ("spec", "workload", "conditions", "protocol", "versions", "convention")
        return Facts(lines, {*settings, *own})

    def records(self) -> Records:
        """Return one row per model and, if requested, one per layer that differs.

        The path of a whole model is empty; the model of a module is its reference; values
        that a row does not have are None.
        """
        ratios = [f"{measure}_ratio" for measure in self.measures]
        columns = [name for pair in zip(self.measures, ratios, strict=True) for name in pair]
        columns = ["name", "model", "mixer", "path", *columns]
        lines: list[dict[str, str | int | float | None]] = []
        for side in self.sides:
            spec = _plain(side.spec)
            model = spec.get("model", spec.get("module"))
            own = {"name": side.name, "model": model, "mixer": spec.get("mixer")}
            of_first = {f"{name}_ratio": ratio for name, ratio in side.ratios.items()}
            lines.append({**own, "path": "", **side.amounts, **of_first})
            for layer in self.layers:
                counts = {measure: layer.counts[measure][side.name] for measure in layer.counts}
                if any(count is not None for count in counts.values()):
                    lines.append({**own, "path": layer.path, **counts})
        return Records(tuple(columns), tuple(tuple(map(line.get, columns)) for line in lines))

    def data(self) -> dict[str, object]:
        return {
            "spec": _plain(self.spec),
            "workload": _plain(self.workload),
            "conditions": dict(self.conditions),
            "versions": dict(self.versions),
            "convention": self.convention,
            "protocol": self.protocol,
            "unsettled": self.unsettled,
            **budget_record(self.budget),
            "measures": list(self.measures),
            "models": [
                {
                    "name": side.name,
                    "spec": _plain(side.spec),
                    "amounts": dict(side.amounts),
                    "ratios": dict(side.ratios),
                    "timing": None if side.timing is None else side.timing.record(),
                }
                for side in self.sides
            ],
            "layers": [asdict(difference) for difference in self.layers],
            "crossovers": [crossover.record() for crossover in self.crossovers],
            "unsearched": dict(self.unsearched),
        }


def _plain(values: Mapping[str, Value]) -> dict[str, Plain]:
    return {name: plain(value) for name, value in values.items()}
