"""Report of the sizes at which a variant costs what a reference costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vitprof.expectations.first_file import expecting
from vitprof.report.base import Report
from vitprof.report.document import (
    EVERY,
    Cell,
    Column,
    Document,
    Facts,
    Heading,
    Kind,
    Records,
    Row,
    Sentence,
    Table,
)
from vitprof.report.quantities import QUANTITIES, Quantity, counts_of
from vitprof.request.budget import Budget, budget_record
from vitprof.request.specs import described
from vitprof.subject import Configurable
from vitprof.values.amounts import Bytes, Change, Signed
from vitprof.values.options import Plain, Value, label_of, pairs, plain

_TITLES: Mapping[str, Quantity] = {
    **QUANTITIES,
    "gpu_memory": Quantity("memory on the GPU", "memory on the GPU"),
}
_IN_BYTES = ("memory", "gpu_memory")
_REFERENCE = "reference"


def title_of(measure: str) -> str:
    """Return the name of a measure in a sentence."""
    return _TITLES[measure].title


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A model with its costs.

    Attributes:
        side: `reference`, or how its cost compares with the reference's: `exact`, `below`, `above`.
        place: values of the varied options, and of those that follow them; empty for the reference.
        model: the model, whose `build` makes the torch module.
        amounts: its cost by measure, memory in bytes; None if a step cannot be run.
        reason: reason for a missing cost; empty if there is none.
    """

    side: str
    place: Mapping[str, Value]
    model: Configurable
    amounts: Mapping[str, int | None]
    reason: str = ""

    @property
    def name(self) -> str:
        """Name in a file: `below: dim 372`."""
        return f"{self.side}: {pairs(self.place)}" if self.place else self.side

    @property
    def spec(self) -> dict[str, Value]:
        """Model, mixer and every option."""
        return dict(self.model.conditions())

    def difference(self, measure: str, reference: Sized) -> int | None:
        """Return its cost less that of the reference; None if either has none."""
        own, other = self.amounts[measure], reference.amounts[measure]
        return None if own is None or other is None else own - other

    def change(self, measure: str, reference: Sized) -> float | None:
        """Return the difference over the cost of the reference; None if that is none or 0."""
        difference, other = self.difference(measure, reference), reference.amounts[measure]
        return None if difference is None or not other else difference / other


@dataclass(frozen=True, kw_only=True)
class Match(Report):
    """Sizes at which a variant costs what a reference costs.

    Attributes:
        by: the cost that both are to have.
        measures: the costs that are listed.
        reference: the reference.
        variant: model, mixer and every option of the variant that is not varied.
        sizes: what was found, the nearest first; of equal distance the cheaper, then the larger.
        ranges: values of each varied option that were searched, in words.
        admitted: number of sizes in these ranges that the variant's rules admit.
        exact_number: number of sizes that cost exactly what the reference costs.
        apart: options of the variant that say what a model reads and returns, and that the
            reference does not have.
        workload: settings of the step.
        budget: memory, or GPU; None without one.
        versions: version of every package involved, by name.
        convention: sentence on what is counted.
    """

    command = "match"
    by: str
    measures: tuple[str, ...]
    reference: Sized
    variant: Mapping[str, Value]
    sizes: tuple[Sized, ...]
    ranges: Mapping[str, str]
    admitted: int
    exact_number: int
    apart: Mapping[str, str]
    workload: Mapping[str, Value]
    budget: Budget | None
    versions: Mapping[str, str]
    convention: str

    @property
    def exact(self) -> Sized | None:
        """A size that costs exactly what the reference costs; None if no size does."""
        return self._first("exact")

    @property
    def below(self) -> Sized | None:
        """The size that costs most of those that cost less; None if no size does."""
        return self._first("below")

    @property
    def above(self) -> Sized | None:
        """The size that costs least of those that cost more; None if no size does."""
        return self._first("above")

    def _first(self, side: str) -> Sized | None:
        return next((one for one in self.sizes if one.side == side), None)

    def to_toml(self) -> str:
        """Return the models as a check file, which `check` and `compare --specs` read.

        Raises:
            SpecError: a model cannot be named in a file.
        """
        head = [f"{self._title}, by vitprof match", f"Searched: {self._searched}"]
        models = {one.name: one.model for one in (self.reference, *self.sizes)}
        batch = self.workload["batch"]
        assert isinstance(batch, int)
        return expecting(models, batch, head)

    @property
    def _title(self) -> str:
        reference = described(self.reference.spec)
        return f"Sizes of {described(self.variant)} at the {title_of(self.by)} of {reference}"

    @property
    def _searched(self) -> str:
        return "; ".join(f"{label_of(name)} {words}" for name, words in self.ranges.items())

    def document(self) -> Document:
        sentences = tuple(map(Sentence, self._sentences()))
        return (Heading(self._title), self._table(), *sentences, self._facts())

    def _table(self) -> Table:
        places = [*self.sizes[0].place]
        columns = [Column("", part=EVERY, key=True)]
        columns += [Column(label_of(name), Kind.NUMBER, EVERY, key=True) for name in places]
        for part, measure in enumerate(self._by_first()):
            title = title_of(measure)
            if measure in ("batch", "gpu_memory") and self.budget is not None:
                title = f"{title.removesuffix(' on the GPU')} {self.budget.title}"
            columns.append(Column(title, Kind.NUMBER, part, counts=counts_of(measure)))
            columns += [Column(name, Kind.NUMBER, part) for name in ("difference", "%")]
        rows = [self._row(one, places) for one in (self.reference, *self.sizes)]
        return Table(tuple(columns), tuple(rows))

    def _by_first(self) -> list[str]:
        """Return the measures, that which is matched before the others."""
        return [self.by, *(measure for measure in self.measures if measure != self.by)]

    def _row(self, one: Sized, places: list[str]) -> Row:
        spec = one.place or one.spec
        cells: list[Cell] = [one.side, *(plain(spec[n]) if n in spec else None for n in places)]
        for measure in self._by_first():
            amount = one.amounts[measure]
            cells.append("n/a" if amount is None else _amount(amount, measure))
            if one is self.reference:
                cells += [None, None]
                continue
            difference = one.difference(measure, self.reference)
            change = one.change(measure, self.reference)
            cells.append(None if difference is None else _difference(difference, measure))
            cells.append(None if change is None else Change(change))
        return Row(tuple(cells), strong=one in (self.exact, self.below, self.above))

    def _sentences(self) -> Iterator[str]:
        """Yield how many sizes match exactly, and on which side there is none."""
        by, of = title_of(self.by), f"of {self.admitted:,} sizes"
        if self.exact_number:
            verb = "has" if self.exact_number == 1 else "have"
            yield f"{self.exact_number:,} {of} {verb} exactly the {by} of the reference"
        else:
            yield f"none {of} has exactly the {by} of the reference"
        for side, one, word, end in (
            (self.below, self.above, "less", "least"),
            (self.above, self.below, "more", "most"),
        ):
            if side is None and one is not None:
                amount = one.amounts[self.by]
                assert amount is not None
                yield (
                    f"none has {word}: the {end}, at {pairs(one.place)}, is "
                    f"{_said(amount, self.by)}"
                )

    def _facts(self) -> Facts:
        of_reference, of_variant = self.reference.spec, dict(self.variant)
        both = {name: v for name, v in of_reference.items() if of_variant.get(name) == v}
        sides = {"both": both, "reference": of_reference, "variant": of_variant}
        lines = {"searched": self._searched}
        for side, spec in sides.items():
            own = {name: v for name, v in spec.items() if side == "both" or name not in both}
            lines |= {side: pairs(own)} if own else {}
        if self.apart:
            lines["not shared"] = f"{pairs(self.apart)}: the reference has no such option"
        reasons = {one.name: one.reason for one in (self.reference, *self.sizes) if one.reason}
        lines |= {f"{name}, n/a": reason for name, reason in reasons.items()}
        lines["workload"] = pairs(self.workload)
        if self.budget is not None:
            lines["budget"] = pairs(budget_record(self.budget))
        lines |= {"versions": pairs(self.versions), "convention": self.convention}
        return Facts(lines, {*sides, "workload", "budget", "versions", "convention"})

    def records(self) -> Records:
        """Return one row per size, after that of the reference."""
        places = [*self.sizes[0].place]
        columns = [
            f"{column(measure)}{ending}"
            for measure in self.measures
            for ending in ("", "_difference", "_change")
        ]
        rows = []
        for one in (self.reference, *self.sizes):
            spec = one.place or one.spec
            row: list[str | int | float | None] = [one.side]
            row += [plain(spec[name]) if name in spec else None for name in places]
            for measure in self.measures:
                row.append(one.amounts[measure])
                row.append(one.difference(measure, self.reference))
                row.append(one.change(measure, self.reference))
            rows.append(tuple(row))
        return Records(("side", *places, *columns), tuple(rows))

    def data(self) -> dict[str, object]:
        """Return the whole report; memory is in bytes, and a `spec` is what a check file takes."""
        return {
            "by": self.by,
            "measures": list(self.measures),
            "vary": dict(self.ranges),
            "admitted": self.admitted,
            "exact_number": self.exact_number,
            "reference": self._record(self.reference),
            "variant": _plain(self.variant),
            "sizes": [self._record(one) for one in self.sizes],
            "not_shared": dict(self.apart),
            "workload": _plain(self.workload),
            **budget_record(self.budget),
            "versions": dict(self.versions),
            "convention": self.convention,
        }

    def _record(self, one: Sized) -> dict[str, object]:
        measures = self.measures
        return {
            "side": one.side,
            "at": _plain(one.place),
            "spec": _plain(one.spec),
            "amounts": dict(one.amounts),
            "differences": {name: one.difference(name, self.reference) for name in measures},
            "changes": {name: one.change(name, self.reference) for name in measures},
            "reason": one.reason,
        }


def column(measure: str) -> str:
    """Return the column name of a measure, with its unit."""
    return f"{measure}_bytes" if measure in _IN_BYTES else measure


def _amount(amount: int, measure: str) -> int:
    return Bytes(amount) if measure in _IN_BYTES else amount


def _said(amount: int, measure: str) -> str:
    return str(Bytes(amount)) if measure in _IN_BYTES else f"{amount:,}"


def _difference(difference: int, measure: str) -> Cell:
    if measure not in _IN_BYTES:
        return Signed(difference)
    sign = "−" if difference < 0 else "+"
    return f"{sign}{Bytes(abs(difference))}"


def _plain(values: Mapping[str, Value]) -> dict[str, Plain]:
    return {name: plain(value) for name, value in values.items()}
