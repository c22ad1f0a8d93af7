"""Presets with their counts, and their published figures beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from vitprof.report.base import Report
from vitprof.report.document import (
    EVERY,
    Column,
    Document,
    Element,
    Facts,
    Heading,
    Kind,
    Records,
    Row,
    Table,
)
from vitprof.report.quantities import QUANTITIES
from vitprof.values.options import Plain, pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetEntry:
    """One preset.

    Attributes:
        name: what it is called by.
        model: the name of its model.
        mixer: the name of its mixer.
        params: all its parameters.
        macs: its MACs for one image.
        source: the paper, or the library.
    """

    name: str
    model: str
    mixer: str
    params: int
    macs: int
    source: str


@dataclass(frozen=True, kw_only=True)
class Presets(Report):
    """All presets, in the order of their families."""

    command = "presets"
    entries: tuple[PresetEntry, ...]

    def document(self) -> Document:
        columns = (
            Column("preset", part=EVERY, key=True),
            Column("params", Kind.NUMBER),
            Column("MACs", Kind.NUMBER),
            Column("mixer"),
            Column("source"),
        )
        sources: dict[str, str] = {}
        rows = []
        for entry in self.entries:
            number = sources.setdefault(entry.source, f"[{len(sources) + 1}]")
            rows.append(Row((entry.name, entry.params, entry.macs, entry.mixer, number)))
        numbered = {number: source for source, number in sources.items()}
        return (Table(columns, tuple(rows)), Facts(numbered))

    def records(self) -> Records:
        columns = tuple(field.name for field in fields(PresetEntry))
        return Records(columns, tuple(tuple(asdict(entry).values()) for entry in self.entries))

    def data(self) -> dict[str, object]:
        return {"entries": [asdict(entry) for entry in self.entries]}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """A published figure beside ours.

    Attributes:
        measure: params or macs.
        printed: as it was printed.
        counted: what our formulas give, counted as whoever published it counted.
        agrees: if that is the figure, to the last digit printed.
        counting: how it was counted.
        source: where it was published.
        beside: derivation of what it counts and the preset has not; empty for nothing.
        note: what is wrong with it, or what it leaves out.
    """

    measure: str
    printed: str
    counted: int
    agrees: bool
    counting: str
    source: str
    beside: str
    note: str


@dataclass(frozen=True, kw_only=True)
class PresetPortrait(Report):
    """All about one preset.

    Attributes:
        entry: what the list says of it.
        spec: every option.
        figures: the published ones.
        note: where the published model differs from what is built here.
    """

    command = "presets"
    entry: PresetEntry
    spec: Mapping[str, Plain]
    figures: tuple[PublishedFigure, ...]
    note: str

    def document(self) -> Document:
        entry = self.entry
        counts = {"params": f"{entry.params:,}", "MACs": f"{entry.macs:,} for one image"}
        counts |= {"source": entry.source, **({"note": self.note} if self.note else {})}
        parts: list[Element] = [Heading(entry.name, f"{entry.model} with {entry.mixer}")]
        parts.append(Facts(counts))
        for figure in self.figures:
            verdict = "agrees" if figure.agrees else "DIFFERS"
            parts.append(Heading(figure.printed, f"{QUANTITIES[figure.measure].title}: {verdict}"))
            lines = {
                "printed in": figure.source,
                "counts": figure.counting,
                "by formula": f"{figure.counted:,}",
            }
            if figure.beside:
                lines["of which"] = f"{figure.beside} is not built here"
            if figure.note:
                lines["leaves out"] = figure.note
            parts.append(Facts(lines))
        return (*parts, Facts({"spec": pairs(self.spec)}))

    def records(self) -> Records:
        """A row a published figure."""
        columns = ("preset", *(field.name for field in fields(PublishedFigure)))
        rows = ((self.entry.name, *asdict(figure).values()) for figure in self.figures)
        return Records(columns, tuple(rows))

    def data(self) -> dict[str, object]:
        return {
            "entry": asdict(self.entry),
            "spec": dict(self.spec),
            "figures": [asdict(figure) for figure in self.figures],
            "note": self.note,
        }
