"""Models and mixers to choose from, with their formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from vitprof.report.base import Report
from vitprof.report.document import Document, Element, Equations, Facts, Heading, Records, Sentence
from vitprof.values.options import Plain, pairs

_COLUMNS = ("name", "aliases", "summary", "source", "params", "macs", "options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model or mixer to choose.

    Attributes:
        name: what it is called by.
        aliases: other names for it.
        summary: one line that says what it is.
        source: the paper.
        params: parameters, as a polynomial.
        macs: multiply-accumulates, as a polynomial.
        options: its own options and their defaults.
    """

    name: str
    aliases: tuple[str, ...]
    summary: str
    source: str
    params: str
    macs: str
    options: Mapping[str, Plain]

    def record(self) -> tuple[str, ...]:
        """All of it as text."""
        texts = (self.name, ", ".join(self.aliases), self.summary, self.source)
        return (*texts, self.params, self.macs, pairs(self.options))


@dataclass(frozen=True, kw_only=True)
class Catalogue(Report):
    """All models, or all mixers.

    Attributes:
        command: `models` or `mixers`.
        symbols: what the symbols in their formulas mean.
        entries: one a model or mixer.
    """

    command: str
    symbols: str
    entries: tuple[Entry, ...]

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
        return {"symbols": self.symbols, "entries": [asdict(entry) for entry in self.entries]}


@dataclass(frozen=True, kw_only=True)
class Portrait(Report):
    """All about one mixer.

    Attributes:
        entry: what the catalogue says of it.
        symbols: what the symbols in its formulas mean.
        equations: the paper's, as the formula's file has them.
        explained: what each of its options is, by name.
        needs_grid: if it is defined on a grid of patches alone.
        readings: verdict on each tool's count of it in one encoder layer; empty without tools.
        spec: that encoder layer.
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
        lines |= {
            _flag(name): f"{self.explained[name]}; {default} by default"
            for name, default in entry.options.items()
        }
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


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
