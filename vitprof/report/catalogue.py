"""Reports of the available models and mixers, with their formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from vitprof.report.base import Report
from vitprof.report.document import (
    Column,
    Document,
    Element,
    Equations,
    Facts,
    Heading,
    Kind,
    Records,
    Row,
    Sentence,
    Table,
)
from vitprof.values.options import Plain, pairs

_COLUMNS = ("name", "aliases", "summary", "source", "params", "macs", "options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One available model or mixer.

    Attributes:
        name: its name.
        aliases: other names.
        summary: description in one line.
        source: the paper.
        params: number of parameters, as a polynomial.
        macs: MACs, as a polynomial.
        options: defaults of its options, by name.
    """

    name: str
    aliases: tuple[str, ...]
    summary: str
    source: str
    params: str
    macs: str
    options: Mapping[str, Plain]

    def record(self) -> tuple[str, ...]:
        """Return all fields as text, in the order of the columns."""
        texts = (self.name, ", ".join(self.aliases), self.summary, self.source)
        return (*texts, self.params, self.macs, pairs(self.options))


@dataclass(frozen=True, kw_only=True)
class Catalogue(Report):
    """List of all models or all mixers.

    Attributes:
        command: `models` or `mixers`.
        symbols: legend of the symbols in the formulas.
        entries: one per model or mixer.
        left_out: a sentence for each mixer of another package that cannot be had.
    """

    command: str
    symbols: str
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()

    def document(self) -> Document:
        parts: list[Element] = []
        for entry in self.entries:
            options = [f"{_flag(name)} {value}" for name, value in entry.options.items()]
            lines = {
                "params": entry.params,
                "MACs": entry.macs,
                "options": ", ".join(options) or "none of its own",
                "source": entry.source,
            }
            if entry.aliases:
                lines["also"] = ", ".join(entry.aliases)
            parts += [Heading(entry.name, entry.summary), Facts(lines)]
        return (*parts, Sentence(self.symbols, faint=True))

    def records(self) -> Records:
        return Records(_COLUMNS, tuple(entry.record() for entry in self.entries))

    def data(self) -> dict[str, object]:
        return {
            "symbols": self.symbols,
            "entries": [asdict(entry) for entry in self.entries],
            **({"left_out": [*self.left_out]} if self.command == "mixers" else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryModel:
    """A model of another library.

    Attributes:
        reference: its name for `--module`.
        input: shape of one image, `3x224x224`; None if that is not known without building it.
    """

    reference: str
    input: str | None


@dataclass(frozen=True, kw_only=True)
class LibraryModels(Report):
    """List of the models of another library that match a pattern.

    Attributes:
        pattern: the pattern, such as `timm:deit*`.
        library: the library and its version.
        models: those that match, in the library's order.
    """

    command = "models"
    pattern: str
    library: str
    models: tuple[LibraryModel, ...]

    def document(self) -> Document:
        columns = (Column("reference", key=True), Column("input", Kind.NUMBER))
        rows = tuple(Row((model.reference, model.input)) for model in self.models)
        found = f"{self.pattern}: {len(rows):,} of the models in {self.library}"
        return (Table(columns, rows), Sentence(found, faint=True))

    def records(self) -> Records:
        rows = tuple((model.reference, model.input) for model in self.models)
        return Records(("reference", "input"), rows)

    def data(self) -> dict[str, object]:
        return {
            "pattern": self.pattern,
            "library": self.library,
            "models": [asdict(model) for model in self.models],
        }


@dataclass(frozen=True, kw_only=True)
class ModelDetails(Report):
    """Details of one model.

    Attributes:
        entry: its entry in the list.
        symbols: legend of the symbols in the formulas.
        description: what it computes.
        explained: description of each option, by name.
    """

    command = "models"
    entry: Entry
    symbols: str
    description: str
    explained: Mapping[str, str]

    def document(self) -> Document:
        entry = self.entry
        lines = {"params": entry.params, "MACs": entry.macs, **_options(entry, self.explained)}
        return (
            Heading(entry.name, entry.summary),
            Equations(self.description),
            Facts({**lines, "source": entry.source}),
            Sentence(self.symbols, faint=True),
        )

    def records(self) -> Records:
        return Records(_COLUMNS, (self.entry.record(),))

    def data(self) -> dict[str, object]:
        return {
            "entry": asdict(self.entry),
            "description": self.description,
            "explained": dict(self.explained),
        }


@dataclass(frozen=True, kw_only=True)
class MixerDetails(Report):
    """Details of one mixer.

    Attributes:
        entry: its entry in the list.
        symbols: legend of the symbols in the formulas.
        equations: equations of the paper.
        explained: description of each option, by name.
        needs_grid: True if it is only defined on a grid of patches.
        readings: verdict on the count of each tool in one encoder layer; empty without tools.
        spec: options of that encoder layer.
    """

    command = "mixers"
    entry: Entry
    symbols: str
    equations: str
    explained: Mapping[str, str]
    needs_grid: bool
    readings: Mapping[str, str]
    spec: Mapping[str, Plain]

    def document(self) -> Document:
        entry = self.entry
        lines = {"params": entry.params, "MACs": entry.macs}
        lines |= _options(entry, self.explained)
        lines["grid"] = (
            "needs one: patches of an image, and no class token"
            if self.needs_grid
            else "needs none"
        )
        lines |= self.readings
        if self.spec:
            lines["read in"] = pairs(self.spec)
        return (
            Heading(entry.name, entry.summary),
            Equations(self.equations),
            Facts(lines),
            Sentence(self.symbols, faint=True),
        )

    def records(self) -> Records:
        return Records(_COLUMNS, (self.entry.record(),))

    def data(self) -> dict[str, object]:
        return {
            "entry": asdict(self.entry),
            "equations": self.equations,
            "explained": dict(self.explained),
            "needs_grid": self.needs_grid,
            "readings": dict(self.readings),
            "spec": dict(self.spec),
        }


def _options(entry: Entry, explained: Mapping[str, str]) -> dict[str, str]:
    """Return a line for each option: its description and its default."""
    return {
        _flag(name): f"{explained[name]}; {default} by default"
        for name, default in entry.options.items()
    }


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
