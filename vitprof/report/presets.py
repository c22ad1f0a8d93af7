"""Reports of the presets, with their counts and published figures."""

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
        name: name of the preset.
        model: name of its model.
        mixer: name of its mixer.
        params: number of all parameters.
        macs: MACs for one image.
        libraries: references of the same model in libraries.
        source: paper or library.
    """

    name: str
    model: str
    mixer: str
    params: int
    macs: int
    libraries: tuple[str, ...]
    source: str


@dataclass(frozen=True, kw_only=True)
class Presets(Report):
    """List of all presets, in the order of their families."""

    command = "presets"
    entries: tuple[PresetEntry, ...]

    def document(self) -> Document:
        columns = (
            Column("preset", part=EVERY, key=True),
            Column("params", Kind.NUMBER, counts="params"),
            Column("MACs", Kind.NUMBER, counts="macs"),
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
        return Records(columns, tuple(map(_record, self.entries)))

    def data(self) -> dict[str, object]:
        return {"entries": [asdict(entry) for entry in self.entries]}


def _record(entry: PresetEntry) -> tuple[Plain, ...]:
    return tuple({**asdict(entry), "libraries": ", ".join(entry.libraries)}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """A published figure beside the count of vitprof.

    Attributes:
        measure: `params` or `macs`.
        printed: the figure as printed.
        counted: count by formula, by the counting rule of the source.
        agrees: True if the count rounds to the figure, to the last digit printed.
        counting: counting rule of the source.
        source: publication of the figure.
        beside: derivation of parts that the preset does not build; empty if there are none.
        note: errors or omissions of the figure.
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
class PresetDetails(Report):
    """Details of one preset.

    Attributes:
        entry: its entry in the list.
        spec: every option.
        figures: published figures.
        note: differences between the published model and the preset.
    """

    command = "presets"
    entry: PresetEntry
    spec: Mapping[str, Plain]
    figures: tuple[PublishedFigure, ...]
    note: str

    def document(self) -> Document:
        entry = self.entry
        counts = {"params": f"{entry.params:,}", "MACs": f"{entry.macs:,} for one image"}
        counts |= {"also": ", ".join(entry.libraries)} if entry.libraries else {}
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
        """Return one row per published figure."""
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
