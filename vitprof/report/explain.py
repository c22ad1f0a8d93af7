"""Report that derives the counts of a model as a person would on paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vitprof.counters.reconcile import Difference
from vitprof.errors import listing
from vitprof.formulas.layer import Measure
from vitprof.report.base import Report
from vitprof.report.counts import Counts
from vitprof.report.derivation import Group, Term, some, summed
from vitprof.report.document import (
    Column,
    Derivation,
    Document,
    Element,
    Equations,
    Facts,
    Heading,
    Kind,
    Records,
    Row,
    Sentence,
    Step,
    Table,
)
from vitprof.request.specs import described
from vitprof.values.amounts import Signed
from vitprof.values.options import label_of, pairs
from vitprof.values.size import Size

_NOUNS = {
    Measure.PARAMS: "parameters",
    Measure.MACS: "MACs",
    Measure.TRAINING: "training MACs",
}
_TITLES = {
    Measure.PARAMS: "Parameters",
    Measure.MACS: "Multiply-accumulates (MACs)",
    Measure.TRAINING: "Multiply-accumulates of a training step",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A name in the formulas.

    Attributes:
        name: the name.
        meaning: what it counts; empty if that is not known.
        definition: its arithmetic; empty if it has none, or several values.
        value: its value; None if it has several, which are given where they are used.
    """

    name: str
    meaning: str
    definition: Size | None
    value: int | None

    def record(self) -> dict[str, object]:
        """Return all fields by name."""
        formula = self.definition.formula if self.definition is not None else ""
        return {
            "name": self.name,
            "meaning": self.meaning,
            "definition": formula,
            "value": self.value,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained(Report):
    """Derivation of the counts of a model or of a layer in it, step by step.

    Attributes:
        layer: path of the layer that is derived; empty for the whole model.
        about: the model and its mixer in words, with their papers.
        equations: the mixer's equations, if a mixer or a part of one is derived.
        symbols: names in the formulas.
        counts: counts by measure, beside those of the tools.
        derivations: terms that add up to each count, by measure.
        not_counted: terms of work that no count includes, by group of layers.
        invocation: command line that makes this report; empty if no command line can.
    """

    command = "explain"

    layer: str
    about: Mapping[str, str]
    equations: str
    symbols: tuple[Symbol, ...]
    counts: Mapping[Measure, Counts]
    derivations: Mapping[Measure, Group]
    not_counted: tuple[Group, ...]
    invocation: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Explained) and self.data() == other.data()

    __hash__ = None  # type: ignore[assignment]

    @property
    def complaint(self) -> str:
        tools = {
            tool: None
            for counts in self.counts.values()
            for tool, found in counts.differences.items()
            if not found.explained
        }
        return f"the count of {listing(tools, 'and')} is not explained" if tools else ""

    @property
    def totals(self) -> dict[str, int]:
        """Total of each measure, by name."""
        return {measure.value: counts.total for measure, counts in self.counts.items()}

    def document(self) -> Document:
        return tuple(self._elements())

    def _elements(self) -> Iterator[Element]:
        yield Heading(self._title(), level=1)
        results = {
            _NOUNS[measure]: f"{one.total:,}" + self._batch_words(one)
            for measure, one in self.counts.items()
        }
        yield Facts({**self.about, **results})
        if self.equations:
            yield Heading("Equations", level=2)
            yield Equations(self.equations)
        if self.symbols:
            yield Heading("Symbols", level=2)
            yield self._legend()
        for measure, counts in self.counts.items():
            yield Heading(_TITLES[measure], level=2)
            yield Sentence(f"{counts.convention[:1].upper()}{counts.convention[1:]}.")
            yield from self._derived(measure)
        if self.not_counted:
            yield Heading("Not counted", level=2)
            yield from self._beside()
        for measure, counts in self.counts.items():
            if counts.tools:
                yield Heading(f"What the tools say: {_NOUNS[measure]}", level=2)
                yield from _readings(measure, counts)
        if notes := self._notes():
            yield Facts(notes)
        yield Heading("Conditions", level=2)
        conditions = self._conditions()
        yield Facts(conditions, tuple(conditions))

    def _title(self) -> str:
        spec = next(iter(self.counts.values())).spec
        of = f"{self.layer} of {described(spec)}" if self.layer else described(spec)
        return f"Derivation of {of}"

    def _batch_words(self, counts: Counts) -> str:
        batch = counts.spec.get("batch", 1)
        return f" for a batch of {batch}" if batch != 1 else ""

    def _legend(self) -> Table:
        columns = (
            Column("symbol", Kind.FORMULA),
            Column("meaning", Kind.TEXT),
            Column("definition", Kind.FORMULA),
            Column("value", Kind.NUMBER),
        )
        rows = [
            Row((Size(0, one.name), one.meaning, one.definition, one.value)) for one in self.symbols
        ]
        return Table(columns, tuple(rows))

    def _derived(self, measure: Measure) -> Iterator[Element]:
        """Yield the derivation of each group, then that of the whole."""
        whole, noun = self.derivations[measure], _NOUNS[measure]
        groups = [*whole.groups()]
        for group in groups:
            if group is not whole:
                yield Heading(_one_of(group), f"({group.type})" if group.type else "", level=3)
            elif len(groups) > 1:
                yield Heading("All of it", level=3)
            if not group.terms:
                yield Sentence(f"There are none: 0 {noun}.")
                continue
            steps = [_step(term, group.path) for term in group.terms]
            if len(steps) > 1:
                total = summed([term.times * term.each for term in group.terms])
                steps.append(Step("sum", "", total, strong=True))
            yield Derivation(noun, tuple(steps), group.where)
        if measure is not Measure.PARAMS and whole.terms:
            doubled = Step("FLOPs", "two for each MAC", Size(2) * Size(whole.each))
            yield Derivation("FLOPs", (doubled,))
        parts = self.counts[measure].totals
        others = {label_of(name): f"{count:,}" for name, count in parts.items() if count}
        if measure is not Measure.MACS and len({*others.values()}) > 1:
            yield Facts(others)

    def _beside(self) -> Iterator[Element]:
        counts = self.counts[Measure.MACS]
        for group in self.not_counted:
            if group.path:
                each = f", of each of {group.times} equal layers" if group.times > 1 else ""
                yield Heading(f"{group.path}{each}", level=3)
            elif len(self.not_counted) > 1:
                yield Heading("Other layers", level=3)
            steps = tuple(_step(term, group.path) for term in group.terms)
            yield Derivation("elements", steps, group.where)
        by_kind = {label_of(name): f"{n:,} elements" for name, n in counts.not_counted.items()}
        if len(self.not_counted) > 1:
            yield Sentence("Of all layers:")
            yield Facts(by_kind)
        if counts.fft_flops:
            yield Sentence(f"The fft: {counts.fft_flops:,} FLOPs by 5 n ⌈log2 n⌉ a transform.")

    def _notes(self) -> dict[str, str]:
        """Return what a reader of any module's formulas has to know."""
        lines: dict[str, str] = {}
        for one in self.counts.values():
            if one.module is not None:
                lines |= one.module.lines()
        return lines

    def _conditions(self) -> dict[str, str]:
        last = [*self.counts.values()][-1]
        forward = [one for measure, one in self.counts.items() if measure is not Measure.TRAINING]
        lines = {"spec": pairs(last.spec), "conditions": pairs(forward[-1].conditions)}
        if forward[-1] is not last:
            lines["in training"] = pairs(last.conditions)
        lines["versions"] = pairs(last.versions)
        if self.invocation:
            lines["reproduce"] = self.invocation
        return lines

    def records(self) -> Records:
        columns = (
            "measure",
            "path",
            "type",
            "words",
            "formula",
            "numbers",
            "each",
            "times",
            "count",
        )
        return Records(
            columns,
            tuple(
                (
                    *(measure.value, term.path, term.type, term.words),
                    *(term.size.formula, term.size.numbers),
                    *(term.each, times, times * term.each),
                )
                for measure, group in self.derivations.items()
                for term, times in group.walk()
            ),
        )

    def data(self) -> dict[str, object]:
        records = self.records()
        return {
            "layer": self.layer,
            "about": dict(self.about),
            "equations": self.equations,
            "symbols": [symbol.record() for symbol in self.symbols],
            "counts": {measure.value: one.data() for measure, one in self.counts.items()},
            "steps": [dict(zip(records.columns, row, strict=True)) for row in records.rows],
            "not_counted": [
                {
                    **{"path": group.path, "times": group.times, "work": term.type},
                    **{"of": term.words, "formula": term.size.formula},
                    **{"numbers": term.size.numbers, "each": term.each},
                }
                for group in self.not_counted
                for term, _ in group.walk()
            ],
            "reproduce": self.invocation,
        }


def _one_of(group: Group) -> str:
    return f"One of {group.path}" if group.times > 1 else group.path


def _step(term: Term | Group, within: str) -> Step:
    if isinstance(term, Term):
        name = term.path.removeprefix(f"{within}.") if within else term.path
        return Step(name, term.words, term.size, term.where)
    times, like = term.times, f", as {term.like}" if term.like else ""
    if times == 1:
        return Step(term.path, f"{term.type}{like}", Size(term.each))
    return Step(term.path, f"{times} equal layers{like}", Size(times) * Size(term.each))


def _readings(measure: Measure, counts: Counts) -> Iterator[Element]:
    agree = [tool for tool, one in counts.differences.items() if one.agrees]
    steps = [
        Step(tool, _reasons(one), summed(_amounts(one)))
        for tool, one in counts.differences.items()
        if not one.agrees
    ]
    if agree:
        verb = "agree" if len(agree) > 1 else "agrees"
        steps.append(Step(listing(agree, "and"), f"{verb} with the count", Size(counts.total)))
    if steps:
        yield Derivation(_NOUNS[measure], tuple(steps))
    notes = {f"{tool}, n/a": reason for tool, reason in counts.unavailable.items()}
    notes |= {f"{tool} says": note for tool, note in counts.notes.items()}
    if notes:
        yield Facts(notes)


def _amounts(difference: Difference) -> list[int]:
    """Return the count and what each cause adds to it, which add up to the reading."""
    causes = [cause.amount for cause in difference.causes]
    return [difference.count, *causes, *filter(None, [difference.unexplained])]


def _reasons(difference: Difference) -> str:
    """Return the causes in words, each with its layers."""
    said = []
    for cause in difference.causes:
        layers = f" ({some([*filter(None, cause.paths)])})" if any(cause.paths) else ""
        said.append(f"{Signed(cause.amount)} {cause.cause}{layers}")
    if difference.unexplained:
        said.append(f"{Signed(difference.unexplained)} UNEXPLAINED")
    said += [
        f"UNEXPLAINED in {one.path or 'the model'}: reads {one.reading:,}, predicted "
        f"{one.predicted:,}"
        for one in difference.innermost[:1]
    ]
    return "; ".join(said)
