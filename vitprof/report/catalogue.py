"""What there is to choose from: models and mixers with their formulas."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from vitprof.docstrings import docstring
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.model import Model
from vitprof.formulas.polynomial import mixer_polynomials, model_polynomials
from vitprof.options import Value, plain
from vitprof.report.to_json import SCHEMA
from vitprof.report.verdict import verdict

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from vitprof.report.report import Report


SYMBOLS = "B images of N tokens of width D; head dim = D / heads; on a grid, N = rows × columns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing to choose.

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
    options: dict[str, int | float | str | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """All about one mixer.

    Attributes:
        entry: what the catalogue says of it.
        equations: the paper's, as the formula's file has them.
        explained: what each of its options is, by name.
        needs_grid: whether it is nothing without a grid of patches.
        readings: what is said of it in one encoder layer, a line a tool; empty without tools.
        spec: that encoder layer.
    """

    entry: Entry
    equations: str
    explained: dict[str, str]
    needs_grid: bool
    readings: dict[str, str]
    spec: dict[str, int | float | str | bool]

    def to_json(self) -> str:
        """The portrait for other programs."""
        document = {"schema": SCHEMA, "command": "mixers", **asdict(self)}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from vitprof.report.catalogue_to_table import portrait_to_table

        yield from portrait_to_table(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The entries of one kind, and what the symbols in their formulas mean."""

    command: str
    symbols: str
    entries: tuple[Entry, ...]

    def to_json(self) -> str:
        """The catalogue for other programs."""
        document = {"schema": SCHEMA, **asdict(self)}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from vitprof.report.catalogue_to_table import catalogue_to_table

        yield from catalogue_to_table(self)


def models(types: Iterable[type[Model]]) -> Catalogue:
    """The models, with attention as their mixer."""
    return Catalogue(
        command="models",
        symbols=(
            "one image, attention as the mixer, mlp ratio 4; patches of an image, of which "
            "the encoder sees those kept"
        ),
        entries=tuple(
            _entry(model, (), model_polynomials(model()), model().values()) for model in types
        ),
    )


def mixers(types: Iterable[type[Mixer]]) -> Catalogue:
    """The mixers."""
    return Catalogue(
        command="mixers",
        symbols=SYMBOLS,
        entries=tuple(
            _entry(mixer, mixer.aliases, mixer_polynomials(mixer()), mixer().values())
            for mixer in types
        ),
    )


def portrait(mixer: type[Mixer], said: Report | None) -> Portrait:
    """One mixer, and what a report of it in an encoder layer says of the tools."""
    return Portrait(
        entry=_entry(mixer, mixer.aliases, mixer_polynomials(mixer()), mixer().values()),
        equations=docstring(sys.modules[mixer.__module__]) or mixer.summary,
        explained={
            name: f"{option.help.removeprefix(f'{mixer.name}: ')} ({option.bounds()})"
            for name, option in mixer.declared().items()
        },
        needs_grid=mixer().needs_grid,
        readings={}
        if said is None
        else {tool: verdict(difference) for tool, difference in said.differences.items()},
        spec={} if said is None else {name: plain(value) for name, value in said.spec.items()},
    )


def _entry(
    chosen: type[Model] | type[Mixer],
    aliases: tuple[str, ...],
    formulas: dict[Measure, str],
    options: dict[str, Value],
) -> Entry:
    return Entry(
        name=chosen.name,
        aliases=aliases,
        summary=chosen.summary,
        source=chosen.source,
        params=formulas[Measure.PARAMS],
        macs=formulas[Measure.MACS],
        options={name: plain(value) for name, value in options.items()},
    )
