"""`vitprof.presets`: list published configurations with their counts."""

from __future__ import annotations

from vitprof.formulas.layer import Measure
from vitprof.published import PRESETS, find_preset, find_presets
from vitprof.published.figures import COUNTINGS
from vitprof.published.preset import Preset
from vitprof.report.presets import PresetDetails, PresetEntry, Presets, PublishedFigure
from vitprof.request.names import named
from vitprof.request.specs import specify
from vitprof.text import is_pattern
from vitprof.values.options import plain


def presets(name: str | None = None) -> Presets | PresetDetails:
    """List the published configurations with parameters and MACs, or show one in detail.

    Args:
        name: name of the preset to show, with its published figures beside vitprof's counts; a
            pattern with *, ? or [, such as `deit*`, lists those that match; None lists all.

    Raises:
        SpecError: the preset is unknown, or none matches.
    """
    if name is None:
        return Presets(entries=tuple(map(_entry, PRESETS.values())))
    if is_pattern(name):
        return Presets(entries=tuple(map(_entry, find_presets(name))))
    preset = named(find_preset, name)
    model = specify(options={"preset": preset.name})
    return PresetDetails(
        entry=_entry(preset),
        spec={option: plain(value) for option, value in model.conditions().items()},
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
        libraries=preset.libraries,
        source=preset.source,
    )
