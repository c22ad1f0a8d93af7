"""The presets, as plain data: their counts, and their published figures beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from vitprof.formulas.layer import Measure
from vitprof.options import Plain, plain
from vitprof.report.to_json import SCHEMA
from vitprof.specs import specify

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from vitprof.presets.preset import Preset


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetList:
    """All presets, in the order of their families."""

    entries: tuple[PresetEntry, ...]

    def to_json(self) -> str:
        """The presets for other programs."""
        document = {"schema": SCHEMA, "command": "presets", **asdict(self)}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from vitprof.report.presets_to_table import list_to_table

        yield from list_to_table(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """A published figure beside ours.

    Attributes:
        measure: params or macs.
        printed: as it was printed.
        counted: what our formulas give, counted as whoever published it counted.
        agrees: whether that is the figure, to the last digit printed.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetPortrait:
    """All about one preset.

    Attributes:
        entry: what the list says of it.
        spec: every option.
        figures: the published ones.
        note: where the published model differs from what is built here.
    """

    entry: PresetEntry
    spec: dict[str, Plain]
    figures: tuple[PublishedFigure, ...]
    note: str

    def to_json(self) -> str:
        """The portrait for other programs."""
        document = {"schema": SCHEMA, "command": "presets", **asdict(self)}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from vitprof.report.presets_to_table import portrait_to_table

        yield from portrait_to_table(self)


def list_presets(presets: Iterable[Preset]) -> PresetList:
    """Each preset with its counts."""
    return PresetList(entries=tuple(_entry(preset) for preset in presets))


def portrait(preset: Preset) -> PresetPortrait:
    """One preset, and its published figures beside what our formulas give."""
    from vitprof.presets.figures import COUNTINGS

    model = specify(options={"preset": preset.name})
    return PresetPortrait(
        entry=_entry(preset),
        spec={name: plain(value) for name, value in model.conditions().items()},
        figures=tuple(
            PublishedFigure(
                measure=figure.measure.value,
                printed=figure.printed,
                counted=figure.counted(model),
                agrees=figure.agrees(model),
                counting=COUNTINGS[figure.counting].says,
                source=figure.source,
                beside="" if figure.beside == "0" else figure.beside,
                note=figure.note,
            )
            for figure in preset.figures
        ),
        note=preset.note,
    )


def _entry(preset: Preset) -> PresetEntry:
    tree = specify(options={"preset": preset.name}).formula()
    return PresetEntry(
        name=preset.name,
        model=preset.model,
        mixer=preset.mixer,
        params=tree.total(Measure.PARAMS),
        macs=tree.total(Measure.MACS),
        source=preset.source,
    )
